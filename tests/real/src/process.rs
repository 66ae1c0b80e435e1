//! Servers as child processes, which end with this program however it ends.

use core::fmt::Debug;
use core::time::Duration;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tokio::time::{Instant, sleep};

use crate::Failure;

/// A folder for a server's files, removed when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("hedge-real-{}-{name}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A new folder in it.
    pub(crate) fn within(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server, stopped when dropped.
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
    /// What ends it at once, and all that it started.
    end: &'static str,
}

impl Server {
    /// Starts `command`. What it says goes to `log`.
    pub(crate) fn start(
        command: impl IntoIterator<Item: AsRef<OsStr>>,
        log: &Path,
        end: &'static str,
    ) -> io::Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", end, "--"])
            .args(command)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()?;
        Ok(Self {
            child,
            log: log.into(),
            end,
        })
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) -> Result<(), Failure> {
        let kill = format!("kill -{name} {}", self.child.id());
        run(Command::new("sh").args(["-c", &kill]))
    }

    /// Ends it, and waits until it is gone.
    pub(crate) fn stop(&mut self) -> Result<(), Failure> {
        if self.child.try_wait()?.is_none() {
            self.signal(self.end)?;
            self.child.wait()?;
        }
        Ok(())
    }

    /// Waits until `ask` has an answer.
    pub(crate) async fn ready<T, E>(
        &self,
        ask: impl AsyncFn() -> Result<T, E>,
    ) -> Result<T, Failure>
    where
        E: Into<Failure>,
    {
        eventually(ask).await.map_err(|error| {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            format!("the server is not ready: {error}\n{log}").into()
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.stop().is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Err(format!("{command:?}: {}\n{said}", output.status).into())
}

/// Asks every 20 ms until there is an answer, for 20 s at most.
pub(crate) async fn eventually<T, E>(ask: impl AsyncFn() -> Result<T, E>) -> Result<T, Failure>
where
    E: Into<Failure>,
{
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() > end => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Waits until a count is what it should be.
pub(crate) async fn settled<T: PartialEq + Debug>(
    expected: T,
    count: impl AsyncFn() -> Result<T, Failure>,
) -> Result<(), Failure> {
    eventually(async || {
        let counted = count().await?;
        if counted == expected {
            Ok(())
        } else {
            Err(Failure::from(format!("{counted:?}, not {expected:?}")))
        }
    })
    .await
}

/// A port on loopback that nobody listens on.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// How many connections to `port` are open, as the kernel counts them at the server's end.
pub(crate) fn connections(port: u16) -> io::Result<usize> {
    const ESTABLISHED: &str = "01";
    let table = fs::read_to_string("/proc/self/net/tcp")?;
    let local = format!("0100007F:{port:04X}");
    let open = |line: &&str| {
        let mut columns = line.split_whitespace().skip(1);
        columns.next() == Some(&local) && columns.nth(1) == Some(ESTABLISHED)
    };
    Ok(table.lines().filter(open).count())
}
