//! A request on async-std whose primary is stuck: `cargo run -p hedge-async-std --example quickstart`.
use core::time::Duration;
use hedge_async_std::{Fixed, Hedger};

#[async_std::main]
async fn main() -> Result<(), Box<dyn core::error::Error>> {
    let millis = Duration::from_millis;
    let hedger = Hedger::builder().strategy(Fixed::new(millis(50))).build()?;
    let hedged = hedger.request(async |attempt| {
        async_std::task::sleep(millis(if attempt.is_hedge() { 20 } else { 900 })).await;
        Ok::<_, std::io::Error>("the answer")
    });
    println!("{:?}", hedged.await?);
    Ok(())
}
