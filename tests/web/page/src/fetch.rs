//! `fetch`, aborted when its future is dropped.

use core::cell::Cell;

use js_sys::Promise;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, RequestCache, RequestInit, Response};

#[wasm_bindgen]
extern "C" {
    /// The global one, which pages, workers and Node have.
    fn fetch(url: &str, init: &RequestInit) -> Promise;
}

/// The text at `url`. If this is dropped before, the fetch is aborted and `aborted` counts it: the server
/// sees the connection close, and can stop working on the answer.
pub(crate) async fn text(url: &str, aborted: &Cell<u32>) -> Result<String, JsValue> {
    let guard = AbortOnDrop {
        controller: Some(AbortController::new()?),
        aborted,
    };
    let init = RequestInit::new();
    // Else requests for one address would wait for each other, to share an answer from the cache.
    init.set_cache(RequestCache::NoStore);
    init.set_signal(
        guard
            .controller
            .as_ref()
            .map(AbortController::signal)
            .as_ref(),
    );
    let result = read(fetch(url, &init)).await;
    guard.over();
    result
}

async fn read(response: Promise) -> Result<String, JsValue> {
    let response: Response = JsFuture::from(response).await?.dyn_into()?;
    if !response.ok() {
        return Err(format!("status {}", response.status()).into());
    }
    let text = JsFuture::from(response.text()?).await?;
    text.as_string()
        .ok_or_else(|| "the answer is no text".into())
}

struct AbortOnDrop<'a> {
    controller: Option<AbortController>,
    aborted: &'a Cell<u32>,
}

impl AbortOnDrop<'_> {
    fn over(mut self) {
        self.controller = None;
    }
}

impl Drop for AbortOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(controller) = &self.controller {
            controller.abort();
            self.aborted.set(self.aborted.get() + 1);
        }
    }
}
