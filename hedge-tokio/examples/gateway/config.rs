//! `gateway.toml`.

use core::net::SocketAddr;
use std::fs;
use std::path::Path;

use hedge_tokio::HedgeConfig;
use serde::Deserialize;

use crate::Failure;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    /// Paths that may be hedged whatever the method.
    #[serde(default)]
    pub(crate) routes: Vec<String>,
    #[serde(default)]
    pub(crate) hedging: HedgeConfig,
    pub(crate) backends: Vec<BackendConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackendConfig {
    /// Scheme, host and port.
    pub(crate) url: String,
    /// What it counts as in `/metrics`.
    #[serde(default)]
    pub(crate) tier: String,
    /// What a request costs there.
    #[serde(default)]
    pub(crate) cost: f64,
}

impl Config {
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let name = file.display();
        let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
        Ok(toml::from_str(&text).map_err(|error| format!("{name}: {error}"))?)
    }
}
