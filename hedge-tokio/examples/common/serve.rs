//! A server on loopback.

use core::net::{Ipv4Addr, SocketAddr};
use std::io;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

/// Serves `app` on a free port of loopback for as long as the runtime lives.
pub(crate) async fn serve(app: Router) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let listener = listener.tap_io(|connection| {
        // An answer is made of small packets, which must not wait for others. Some systems refuse this on a
        // connection that is already closed; then it does not matter.
        let _ = connection.set_nodelay(true);
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}
