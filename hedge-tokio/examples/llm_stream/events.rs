//! Server-sent events, read from a response as they arrive.

use core::mem;
use std::io;

use reqwest::Response;

/// The events of a response.
#[derive(Debug)]
pub(crate) struct Events {
    response: Response,
    /// What has arrived since the last whole line.
    rest: Vec<u8>,
    /// The lines of data of the event that is arriving.
    data: Vec<String>,
}

impl Events {
    pub(crate) fn new(response: Response) -> Self {
        Self {
            response,
            rest: Vec::new(),
            data: Vec::new(),
        }
    }

    /// The next event's data, or nothing at the end of the response.
    pub(crate) async fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line = self.rest.drain(..=end).collect();
                let line = String::from_utf8(line).map_err(io::Error::other)?;
                let line = line.trim_end_matches(['\n', '\r']);
                if let Some(data) = line.strip_prefix("data:") {
                    self.data
                        .push(data.strip_prefix(' ').unwrap_or(data).to_owned());
                } else if line.is_empty() && !self.data.is_empty() {
                    return Ok(Some(mem::take(&mut self.data).join("\n")));
                }
                // Other lines are comments, which keep the connection alive, and fields not needed here.
            }
            // Events and the pieces in which they arrive have nothing to do with each other.
            match self.response.chunk().await.map_err(io::Error::other)? {
                Some(piece) => self.rest.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
    }
}
