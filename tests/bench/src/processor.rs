//! What the operating system tells about the time that this process has had.

use core::time::Duration;
use std::fs;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

/// The processor time that all threads of this process have used.
pub(crate) fn time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

/// How long this thread could have run, but did not since others did. `None` where the kernel does not say.
pub(crate) fn thread_waited() -> Option<Duration> {
    waited(Path::new("/proc/thread-self"))
}

/// How long all threads of this process together could have run, but did not.
pub(crate) fn all_waited() -> Option<Duration> {
    let tasks = fs::read_dir("/proc/self/task").ok()?;
    // Threads end.
    Some(
        tasks
            .flatten()
            .filter_map(|task| waited(&task.path()))
            .sum(),
    )
}

fn waited(task: &Path) -> Option<Duration> {
    let stat = fs::read_to_string(task.join("schedstat")).ok()?;
    let nanos = stat.split(' ').nth(1)?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

/// How much more `now` is than `before`.
pub(crate) fn since(before: Option<Duration>, now: Option<Duration>) -> Option<Duration> {
    Some(now?.saturating_sub(before?))
}

/// The most memory that this process has had, in bytes. `None` where the kernel does not say.
pub(crate) fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
