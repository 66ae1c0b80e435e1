//! How much memory the process has.

use std::fs;

use crate::Failure;

/// How much more it may be at the end than once all had grown to its size, in KiB.
pub(crate) const TOLERANCE: u64 = 4 * 1024;

/// What is resident, in KiB, as Linux tells it.
pub(crate) fn resident() -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number
        .ok_or("the system does not tell how much memory there is")?
        .parse()?)
}
