//! A request on tokio whose primary is stuck: `cargo run -p hedge-tokio --example quickstart`.
use core::time::Duration;
use hedge_tokio::{Fixed, Hedger};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn core::error::Error>> {
    let millis = Duration::from_millis;
    let hedger = Hedger::builder().strategy(Fixed::new(millis(50))).build()?;
    let hedged = hedger.request(async |attempt| {
        tokio::time::sleep(millis(if attempt.is_hedge() { 20 } else { 900 })).await;
        Ok::<_, std::io::Error>("the answer")
    });
    println!("{:?}", hedged.await?);
    Ok(())
}
