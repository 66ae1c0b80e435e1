//! A request on smol whose primary is stuck, its attempts tasks: `cargo run -p hedge-async-std --example smol`.
use core::time::Duration;
use hedge_async_std::{Fixed, Hedger};

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let delay = Duration::from_millis(50);
    let hedger = Hedger::builder().strategy(Fixed::new(delay)).build()?;
    let fetch = |latency| async move {
        smol::Timer::after(Duration::from_millis(latency)).await;
        Ok::<_, std::io::Error>("the answer")
    };
    let hedged = hedger.request(|attempt| smol::spawn(fetch([900, 20][attempt.index()])));
    println!("{:?}", smol::block_on(hedged)?);
    Ok(())
}
