//! PostgreSQL: a primary and its streaming replica, the first of which makes readers wait for a lock.
//!
//! A connection runs one query at a time, so reads take connections from a pool. A query whose future is
//! dropped runs on, on the server. So whoever loses sends a cancel request, and gives its connection back
//! only when the query has ended: a request to cancel names a connection, not a query, and would hit the
//! next one.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hedge_tokio::Hedger;
use tokio_postgres::{Client, Config, Error, NoTls, Statement};

use crate::load::{KEYS, Pair, compare, value_of};
use crate::process::{self, Folder, Server, free_port, settled};
use crate::report::Report;
use crate::{Failure, Options};

pub(crate) async fn run(
    folder: &Folder,
    options: &Options,
    report: &mut Report,
) -> Result<(), Failure> {
    report.say("postgres: making a primary and a streaming replica");
    let primary = Node::primary(folder).await?;
    primary.fill().await?;
    let replica = Node::replica(folder, &primary).await?;
    replica.caught_up().await?;

    let hedger = options.hedger()?;
    let pools = [Pool::new(&primary), Pool::new(&replica)];
    let pair = Databases {
        first: &primary,
        pools: pools.clone(),
        hedger: &hedger,
    };
    let compared = compare(&pair, &hedger).await?;
    report.compared("postgres, readers locked", &compared);

    let opened = [pools[0].opened(), pools[1].opened()];
    let count =
        async || -> Result<_, Failure> { Ok([primary.readers().await?, replica.readers().await?]) };
    // The last losers are about to give theirs back.
    let idle = async || Ok([pools[0].idle(), pools[1].idle()]);
    let back = settled(opened, idle).await;
    report.settled(
        &back,
        format_args!("postgres: {opened:?} connections, all back in their pools"),
    );
    let same = settled(opened, count).await;
    report.settled(&same, "postgres: the servers have as many");
    drop(pair);
    drop(pools);
    let none = settled([0, 0], count).await;
    report.settled(&none, "postgres: none when the pools are gone");
    Ok(())
}

/// How readers call themselves.
const READER: &str = "reader";
/// Every reader takes it shared. (A lock on the table would reach the replica, too.)
const LOCK: i64 = 1;

/// A PostgreSQL server.
struct Node {
    /// Stopped when dropped.
    _server: Server,
    port: u16,
    admin: Client,
}

impl Node {
    async fn primary(folder: &Folder) -> Result<Self, Failure> {
        let home = folder.path().join("primary");
        let options = "-U postgres -A trust -E UTF8 --no-locale --no-sync -D";
        process::run(Command::new("initdb").args(options.split(' ')).arg(&home))?;
        let mut config = File::options()
            .append(true)
            .open(home.join("postgresql.conf"))?;
        config.write_all(
            b"listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\n\
              max_connections = 200\nmax_wal_senders = 2\nshared_buffers = 16MB\nfsync = off\n",
        )?;
        Self::start(folder, &home).await
    }

    async fn replica(folder: &Folder, primary: &Self) -> Result<Self, Failure> {
        let home = folder.path().join("replica");
        let from = format!("-h 127.0.0.1 -p {} -U postgres", primary.port);
        let options = format!("{from} -R -c fast --no-sync -D");
        process::run(
            Command::new("pg_basebackup")
                .args(options.split(' '))
                .arg(&home),
        )?;
        Self::start(folder, &home).await
    }

    async fn start(folder: &Folder, home: &Path) -> Result<Self, Failure> {
        let port = free_port()?;
        let (at, home) = (port.to_string(), home.display().to_string());
        let log = folder.path().join(format!("{port}.log"));
        // Quits at once, and all of its processes with it.
        let server = Server::start(["postgres", "-D", &home, "-p", &at], &log, "QUIT")?;
        let admin = server.ready(async || connect(port, "admin").await).await?;
        Ok(Self {
            _server: server,
            port,
            admin,
        })
    }

    async fn fill(&self) -> Result<(), Failure> {
        self.admin
            .batch_execute("CREATE TABLE pairs (key bigint PRIMARY KEY, value text NOT NULL)")
            .await?;
        let rows: Vec<String> = (0..KEYS)
            .map(|key| format!("({key}, '{}')", value_of(key)))
            .collect();
        Ok(self
            .admin
            .batch_execute(&format!("INSERT INTO pairs VALUES {}", rows.join(", ")))
            .await?)
    }

    /// Waits until a replica has all rows.
    async fn caught_up(&self) -> Result<(), Failure> {
        let query = "SELECT count(*), pg_is_in_recovery() FROM pairs";
        settled((KEYS as i64, true), async || {
            let row = self.admin.query_one(query, &[]).await?;
            Ok((row.try_get(0)?, row.try_get(1)?))
        })
        .await
    }

    async fn readers(&self) -> Result<usize, Failure> {
        self.count("true").await
    }

    /// How many readers' connections there are of which `so` holds.
    async fn count(&self, so: &str) -> Result<usize, Failure> {
        let query = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{READER}' AND {so}"
        );
        let count: i64 = self.admin.query_one(&query, &[]).await?.get(0);
        Ok(usize::try_from(count)?)
    }
}

async fn connect(port: u16, name: &str) -> Result<Client, Error> {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .user("postgres")
        .dbname("postgres")
        .application_name(name);
    let (client, connection) = config.connect(NoTls).await?;
    // Ends when the client is dropped. What goes wrong is told to the client.
    tokio::spawn(connection);
    Ok(client)
}

/// Connections to one server.
struct Pool {
    port: u16,
    idle: Mutex<Vec<Arc<Reader>>>,
    opened: AtomicUsize,
}

/// A connection, and the query that is prepared on it.
struct Reader {
    client: Client,
    select: Statement,
}

impl Pool {
    fn new(node: &Node) -> Arc<Self> {
        Arc::new(Self {
            port: node.port,
            idle: Mutex::default(),
            opened: AtomicUsize::new(0),
        })
    }

    /// One attempt at reading `key`.
    async fn get(self: &Arc<Self>, key: u64) -> Result<String, Error> {
        let reader = self.reader().await?;
        let mut query = Query {
            pool: self.clone(),
            reader: reader.clone(),
            ended: false,
        };
        let row = reader
            .client
            .query_one(&reader.select, &[&(key as i64)])
            .await;
        query.ended = true;
        row?.try_get(0)
    }

    async fn reader(&self) -> Result<Arc<Reader>, Error> {
        let idle = self.lock().pop();
        if let Some(reader) = idle {
            return Ok(reader);
        }
        let client = connect(self.port, READER).await?;
        let text =
            format!("SELECT value FROM pg_advisory_xact_lock_shared({LOCK}), pairs WHERE key = $1");
        let select = client.prepare(&text).await?;
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(Reader { client, select }))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Reader>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> usize {
        self.lock().len()
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

/// A query on its way. Dropped when it has ended, it gives its connection back; dropped before, it has
/// the server cancel it first.
struct Query {
    pool: Arc<Pool>,
    reader: Arc<Reader>,
    ended: bool,
}

impl Drop for Query {
    fn drop(&mut self) {
        let (pool, reader) = (self.pool.clone(), self.reader.clone());
        if self.ended {
            pool.lock().push(reader);
            return;
        }
        tokio::spawn(async move {
            let cancelled = reader.client.cancel_token().cancel_query(NoTls).await;
            // The connection's next answer comes when the query has ended.
            let ended = reader.client.simple_query("").await;
            if cancelled.is_ok() && ended.is_ok() {
                pool.lock().push(reader);
            }
        });
    }
}

struct Databases<'h> {
    first: &'h Node,
    pools: [Arc<Pool>; 2],
    hedger: &'h Hedger,
}

impl Databases<'_> {
    async fn get(&self, key: u64, attempt: usize) -> Result<String, Error> {
        self.pools[(key as usize + attempt) % 2].get(key).await
    }
}

impl Pair for Databases<'_> {
    async fn plain(&self, key: u64) -> Result<String, Failure> {
        Ok(self.get(key, 0).await?)
    }

    async fn hedged(&self, key: u64) -> Result<String, Failure> {
        let hedged = self
            .hedger
            .request(|attempt| self.get(key, attempt.index()));
        Ok(hedged.await?.value)
    }

    async fn stall(&self) -> Result<(), Failure> {
        Ok(self
            .first
            .admin
            .batch_execute(&format!("SELECT pg_advisory_lock({LOCK})"))
            .await?)
    }

    async fn resume(&self) -> Result<(), Failure> {
        Ok(self
            .first
            .admin
            .batch_execute(&format!("SELECT pg_advisory_unlock({LOCK})"))
            .await?)
    }

    async fn at_work(&self) -> Result<Option<usize>, Failure> {
        Ok(Some(self.first.count("state = 'active'").await?))
    }
}
