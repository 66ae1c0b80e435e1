//! Streams by script, and readers of them.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_lite::{StreamExt, future, stream};
use heapless::Vec;
use hedge_core::{Attempt, Timer};

use crate::backend::{Backend, Failure};
use crate::{Home, World};

/// What a stream does next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    /// It gives an item after so many ticks.
    Item(u32),
    /// It gives an error after so many ticks.
    Fails(u32),
    /// It gives nothing any more, without an end.
    Stalls,
}

/// The item `n` of attempt `attempt`: items of several streams cannot be taken for one another.
pub(crate) const fn item(attempt: usize, n: usize) -> usize {
    1000 * attempt + n
}

/// A stream by script. It ends with the script.
pub(crate) fn scripted<'w, T: Timer + Clone, H: Home>(
    world: &'w World<T, H>,
    attempt: usize,
    script: &'static [Next],
) -> impl stream::Stream<Item = Result<usize, Failure>> + use<'w, T, H> {
    stream::unfold(0, move |n| async move {
        let (ticks, result) = match *script.get(n)? {
            Next::Item(ticks) => (ticks, Ok(item(attempt, n))),
            Next::Fails(ticks) => (ticks, Err(Failure::Plain(attempt))),
            Next::Stalls => return future::pending().await,
        };
        if ticks > 0 {
            world.sleep(ticks).await;
        }
        Some((result, n + 1))
    })
}

/// Opens the stream of an attempt. It was pinned before, since there may be no allocator, and is open until it is
/// dropped: for so long `backend` counts its attempt as running.
pub(crate) fn open<'b, S, T: Timer + Clone, H: Home>(
    backend: &'b Backend<'_, T, H>,
    attempt: Attempt,
    stream: Option<Pin<&'b mut S>>,
) -> impl Future<Output = Result<Open<'b, S, impl Sized + use<'b, S, T, H>>, Failure>> {
    let visit = backend.visit(attempt);
    async move {
        match stream {
            Some(stream) => Ok(Open { stream, visit }),
            None => Err(Failure::Plain(attempt.index())),
        }
    }
}

/// An open stream.
pub(crate) struct Open<'b, S, V> {
    stream: Pin<&'b mut S>,
    // Ends when it is dropped.
    #[allow(dead_code)]
    visit: V,
}

impl<S: stream::Stream, V> Unpin for Open<'_, S, V> {}

impl<S: stream::Stream, V> stream::Stream for Open<'_, S, V> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.get_mut().stream.as_mut().poll_next(cx)
    }
}

/// Reads a stream to its end.
pub(crate) async fn read<S, E>(mut stream: Pin<&mut S>) -> Vec<Result<usize, E>, 8>
where
    S: stream::Stream<Item = Result<usize, E>>,
{
    let mut items = Vec::new();
    while let Some(item) = stream.next().await {
        assert!(items.push(item).is_ok(), "too many items");
    }
    items
}
