//! What clients and providers say to each other: the part of OpenAI's chat completions used here.

use serde::{Deserialize, Serialize};

/// The body of `POST /v1/chat/completions`.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct CompletionRequest {
    pub(crate) model: String,
    pub(crate) messages: Vec<Message>,
    pub(crate) stream: bool,
    pub(crate) max_tokens: u32,
    /// What makes a request reproducible; here also the request's number.
    pub(crate) seed: u64,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Message {
    pub(crate) role: String,
    pub(crate) content: String,
}

/// One event of the stream.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Chunk {
    /// Identifies the stream: all its chunks have this value, and no other stream does.
    pub(crate) id: String,
    pub(crate) object: String,
    pub(crate) choices: [Choice; 1],
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Choice {
    pub(crate) index: u32,
    pub(crate) delta: Delta,
    pub(crate) finish_reason: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Delta {
    #[serde(default)]
    pub(crate) content: String,
}

impl Chunk {
    /// The event that carries `text`, or the last one if there is none.
    pub(crate) fn new(id: &str, text: Option<&str>) -> Self {
        Self {
            id: id.to_owned(),
            object: "chat.completion.chunk".to_owned(),
            choices: [Choice {
                index: 0,
                delta: Delta {
                    content: text.unwrap_or_default().to_owned(),
                },
                finish_reason: text.is_none().then(|| "stop".to_owned()),
            }],
        }
    }
}

/// The data of the event after the last chunk.
pub(crate) const DONE: &str = "[DONE]";
