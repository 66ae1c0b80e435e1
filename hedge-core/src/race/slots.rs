//! Inline, pinned storage for up to `N` futures, without `unsafe` and without `alloc`.
//!
//! `Pin<&mut [F; N]>` cannot be projected to `Pin<&mut F>` in safe code, but a struct field can.
//! The array is therefore written as a chain of `N` structs: `Slot<F, Slot<F, Nil>>` has the size
//! of `[Option<F>; 2]`.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::span::InSpan;

/// A fixed number of places, each of which is empty or holds one pinned future.
pub trait Slots<F: Future>: Default {
    /// The number of places.
    const CAPACITY: usize;

    /// Puts `future` into place `index` and drops the future that was there. If `index` is not
    /// below [`CAPACITY`](Self::CAPACITY), `future` is dropped.
    fn put(self: Pin<&mut Self>, index: usize, future: InSpan<F>);

    /// Polls the futures from place `from` on, in order, until one is ready. Drops that future, and
    /// returns its place and output.
    fn poll_from(
        self: Pin<&mut Self>,
        from: usize,
        cx: &mut Context<'_>,
    ) -> Option<(usize, F::Output)>;

    /// Polls the future in the first place. If it is ready, drops it and returns its output.
    fn poll_first(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<F::Output>;

    /// Drops the future in place `index`.
    fn remove(self: Pin<&mut Self>, index: usize);

    /// Drops every future.
    fn clear(self: Pin<&mut Self>);

    /// Returns the number of places that hold a future.
    fn live(&self) -> usize;
}

/// The end of the chain.
#[derive(Debug, Default)]
pub struct Nil;

impl<F: Future> Slots<F> for Nil {
    const CAPACITY: usize = 0;

    fn put(self: Pin<&mut Self>, _: usize, _: InSpan<F>) {}

    fn poll_from(
        self: Pin<&mut Self>,
        _: usize,
        _: &mut Context<'_>,
    ) -> Option<(usize, F::Output)> {
        None
    }

    fn poll_first(self: Pin<&mut Self>, _: &mut Context<'_>) -> Option<F::Output> {
        None
    }

    fn remove(self: Pin<&mut Self>, _: usize) {}

    fn clear(self: Pin<&mut Self>) {}

    fn live(&self) -> usize {
        0
    }
}

pin_project! {
    /// One place, followed by the remaining places.
    #[derive(Debug)]
    pub struct Slot<F, R> {
        #[pin]
        future: Option<InSpan<F>>,
        #[pin]
        rest: R,
    }
}

impl<F, R: Default> Default for Slot<F, R> {
    fn default() -> Self {
        Self {
            future: None,
            rest: R::default(),
        }
    }
}

impl<F: Future, R: Slots<F>> Slots<F> for Slot<F, R> {
    const CAPACITY: usize = 1 + R::CAPACITY;

    fn put(self: Pin<&mut Self>, index: usize, future: InSpan<F>) {
        let mut this = self.project();
        match index.checked_sub(1) {
            None => this.future.set(Some(future)),
            Some(index) => this.rest.put(index, future),
        }
    }

    fn poll_from(
        mut self: Pin<&mut Self>,
        from: usize,
        cx: &mut Context<'_>,
    ) -> Option<(usize, F::Output)> {
        if from == 0
            && let Some(output) = self.as_mut().poll_first(cx)
        {
            return Some((0, output));
        }
        let rest = self.project().rest;
        let (index, output) = rest.poll_from(from.saturating_sub(1), cx)?;
        Some((index + 1, output))
    }

    #[inline]
    fn poll_first(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<F::Output> {
        let mut future = self.project().future;
        let Poll::Ready(output) = future.as_mut().as_pin_mut()?.poll(cx) else {
            return None;
        };
        future.set(None);
        Some(output)
    }

    fn remove(self: Pin<&mut Self>, index: usize) {
        let mut this = self.project();
        match index.checked_sub(1) {
            None => this.future.set(None),
            Some(index) => this.rest.remove(index),
        }
    }

    fn clear(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.future.set(None);
        this.rest.clear();
    }

    fn live(&self) -> usize {
        usize::from(self.future.is_some()) + self.rest.live()
    }
}

/// Names the storage for `N` attempts: `<Max<3> as Capacity<F>>::Slots`.
#[derive(Clone, Copy, Debug)]
pub struct Max<const N: usize>;

/// The storage that belongs to a [`Max`]. Implemented for `Max<1>` to `Max<8>`.
#[diagnostic::on_unimplemented(
    message = "a race holds 1 to 8 attempts",
    label = "choose `MAX` in 1..=8"
)]
pub trait Capacity<F: Future> {
    /// The storage type.
    type Slots: Slots<F>;
}

macro_rules! chain {
    ($f:ident;) => { Nil };
    ($f:ident; $head:tt $($tail:tt)*) => { Slot<$f, chain!($f; $($tail)*)> };
}

macro_rules! capacity {
    ($($n:literal => [$($unit:tt)+])+) => {$(
        impl<F: Future> Capacity<F> for Max<$n> {
            type Slots = chain!(F; $($unit)+);
        }
        const _: () = {
            type Probe = core::future::Ready<u64>;
            type Chain = <Max<$n> as Capacity<Probe>>::Slots;
            assert!(<Chain as Slots<Probe>>::CAPACITY == $n);
            assert!(size_of::<Chain>() == size_of::<[Option<InSpan<Probe>>; $n]>());
        };
    )+};
}

capacity! {
    1 => [x]
    2 => [x x]
    3 => [x x x]
    4 => [x x x x]
    5 => [x x x x x]
    6 => [x x x x x x]
    7 => [x x x x x x x]
    8 => [x x x x x x x x]
}
