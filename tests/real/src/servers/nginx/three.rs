//! Three servers of the same files. One refuses while there is a file that says so.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{client, text};
use crate::incident::{self, Incident, SERVERS, Trio};
use crate::load::{KEYS, value_of};
use crate::process::{Folder, Server, free_port};
use crate::report::Report;
use crate::{Failure, Options};

pub(crate) async fn run(
    folder: &Folder,
    options: &Options,
    report: &mut Report,
) -> Result<(), Failure> {
    report.say("nginx: starting three servers");
    let files = folder.within("files")?;
    for key in 0..KEYS {
        fs::write(files.join(key.to_string()), value_of(key))?;
    }
    let mut upstreams = Upstreams {
        client: client()?,
        servers: [
            Upstream::start(folder, "first", &files).await?,
            Upstream::start(folder, "second", &files).await?,
            Upstream::start(folder, "third", &files).await?,
        ],
    };
    incident::run("nginx", &mut upstreams, options, report).await
}

/// An nginx.
struct Upstream {
    server: Server,
    home: PathBuf,
    port: u16,
}

impl Upstream {
    async fn start(folder: &Folder, name: &str, files: &Path) -> Result<Self, Failure> {
        let (home, port) = (folder.within(name)?, free_port()?);
        let at = home.display();
        let config = format!(
            r#"
daemon off;
master_process off;
pid {at}/nginx.pid;
error_log {at}/error.log warn;
events {{ worker_connections 1000; }}
http {{
    access_log off;
    client_body_temp_path {at}/body;
    proxy_temp_path {at}/proxy;
    fastcgi_temp_path {at}/fastcgi;
    uwsgi_temp_path {at}/uwsgi;
    scgi_temp_path {at}/scgi;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port};
        root {files};
        location / {{
            access_log {at}/reads.log;
            if (-f {at}/refuse) {{ return 503; }}
        }}
        location = /ready {{ return 204; }}
    }}
}}
"#,
            files = files.display()
        );
        fs::write(home.join("nginx.conf"), config)?;
        let upstream = Self {
            server: Self::launch(&home)?,
            home,
            port,
        };
        upstream.ready().await?;
        Ok(upstream)
    }

    fn launch(home: &Path) -> io::Result<Server> {
        let file = home.join("nginx.conf").display().to_string();
        let (log, home) = (home.join("nginx.log"), home.display().to_string());
        let errors = format!("{home}/error.log");
        let command = ["nginx", "-e", &errors, "-c", &file, "-p", &home];
        Server::start(command, &log, "KILL")
    }

    async fn ready(&self) -> Result<(), Failure> {
        let address = format!("http://127.0.0.1:{}/ready", self.port);
        let ask = async || text(client()?.get(&address).send()).await;
        self.server.ready(ask).await.map(drop)
    }

    /// How many reads it has logged.
    fn reads(&self) -> io::Result<u64> {
        let log = fs::read_to_string(self.home.join("reads.log"))?;
        Ok(log.lines().count() as u64)
    }
}

struct Upstreams {
    client: reqwest::Client,
    servers: [Upstream; SERVERS],
}

impl Trio for Upstreams {
    type Error = reqwest::Error;

    async fn get(&self, server: usize, key: u64) -> Result<String, reqwest::Error> {
        let port = self.servers[server].port;
        let request = self.client.get(format!("http://127.0.0.1:{port}/{key}"));
        text(request.send()).await
    }

    async fn served(&self) -> Result<[u64; SERVERS], Failure> {
        let [first, second, third] = &self.servers;
        Ok([first.reads()?, second.reads()?, third.reads()?])
    }

    async fn begin(&mut self, incident: Incident) -> Result<(), Failure> {
        let first = &mut self.servers[0];
        match incident {
            Incident::Stall => first.server.signal("STOP"),
            Incident::Kill => first.server.stop(),
            Incident::Refuse => Ok(fs::write(first.home.join("refuse"), "")?),
        }
    }

    async fn end(&mut self, incident: Incident) -> Result<(), Failure> {
        let first = &mut self.servers[0];
        match incident {
            Incident::Stall => first.server.signal("CONT"),
            Incident::Kill => {
                first.server = Upstream::launch(&first.home)?;
                first.ready().await
            }
            Incident::Refuse => Ok(fs::remove_file(first.home.join("refuse"))?),
        }
    }
}
