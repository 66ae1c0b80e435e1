//! The gateway as it was: the other link is for when the first has failed.

use crate::link::{Damaged, Link, Reading};
#[cfg(not(feature = "hedging"))]
use crate::report::Costs;

/// Polls `sensor` over the first link, and if that fails over the second.
pub async fn poll(links: &[Link; 2], sensor: u16) -> Result<Reading, Damaged> {
    match links[0].poll(sensor).await {
        Ok(reading) => Ok(reading),
        Err(Damaged) => links[1].poll(sensor).await,
    }
}

/// Nothing: for the image that shows what hedging takes in flash.
#[cfg(not(feature = "hedging"))]
pub fn costs() -> Costs {
    Costs::default()
}
