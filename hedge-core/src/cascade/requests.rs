//! The closures that make the requests to the tiers of a cascade.

use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::stream::{First, FirstItem};

/// One closure per tier, called when that tier starts: a tuple of up to eight, an array, or a
/// `Vec`.
///
/// The closures of a tuple may return futures of different types, and none of them is boxed. The
/// futures of an array or a `Vec` have one type, which can be that of [`BoxedRequest`].
pub trait Requests<V, E> {
    /// The type of the tiers' futures.
    type Future: Future<Output = Result<V, E>>;

    /// Returns the number of tiers.
    fn len(&self) -> usize;

    /// Returns whether there are no tiers.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a function that starts the tier at an index. It returns `None` for an index out of
    /// range, and for a tier that was started before.
    fn starter(self) -> impl FnMut(usize) -> Option<Self::Future>;
}

impl<V, E, R, F, const N: usize> Requests<V, E> for [R; N]
where
    R: FnOnce() -> F,
    F: Future<Output = Result<V, E>>,
{
    type Future = F;

    fn len(&self) -> usize {
        N
    }

    fn starter(self) -> impl FnMut(usize) -> Option<F> {
        let mut requests = self.map(Some);
        move |index| Some(requests.get_mut(index)?.take()?())
    }
}

#[cfg(feature = "alloc")]
impl<V, E, R, F> Requests<V, E> for alloc::vec::Vec<R>
where
    R: FnOnce() -> F,
    F: Future<Output = Result<V, E>>,
{
    type Future = F;

    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn starter(self) -> impl FnMut(usize) -> Option<F> {
        let mut requests: alloc::vec::Vec<Option<R>> = self.into_iter().map(Some).collect();
        move |index| Some(requests.get_mut(index)?.take()?())
    }
}

/// A boxed closure that returns a boxed future, for a `Vec` with as many tiers as a config lists.
/// Created by [`boxed`].
#[cfg(feature = "alloc")]
pub type BoxedRequest<'r, V, E> = alloc::boxed::Box<
    dyn FnOnce() -> Pin<alloc::boxed::Box<dyn Future<Output = Result<V, E>> + Send + 'r>>
        + Send
        + 'r,
>;

/// Boxes a closure and the future that it returns.
#[cfg(feature = "alloc")]
pub fn boxed<'r, V, E, F>(request: impl FnOnce() -> F + Send + 'r) -> BoxedRequest<'r, V, E>
where
    F: Future<Output = Result<V, E>> + Send + 'r,
{
    use alloc::boxed::Box;

    Box::new(move || Box::pin(request()))
}

/// Tiers that open streams, each of which has answered with its first item.
pub(super) struct FirstItems<R, S> {
    requests: R,
    stream: PhantomData<fn() -> S>,
}

impl<R, S> FirstItems<R, S> {
    pub(super) const fn new(requests: R) -> Self {
        Self {
            requests,
            stream: PhantomData,
        }
    }
}

impl<S, I, E, R> Requests<First<I, S>, E> for FirstItems<R, S>
where
    R: Requests<S, E>,
    S: Stream<Item = Result<I, E>> + Unpin,
{
    type Future = FirstItem<R::Future>;

    fn len(&self) -> usize {
        self.requests.len()
    }

    fn starter(self) -> impl FnMut(usize) -> Option<Self::Future> {
        let mut start = self.requests.starter();
        move |index| start(index).map(|future| FirstItem::new(future, core::convert::identity))
    }
}

pin_project! {
    /// The future of a tier that was started. It never completes if the tier could not be started.
    #[derive(Debug)]
    pub struct TierRequest<F> {
        #[pin]
        future: Option<F>,
    }
}

impl<F> TierRequest<F> {
    pub(super) fn new(future: Option<F>) -> Self {
        Self { future }
    }
}

impl<F: Future> Future for TierRequest<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project().future.as_pin_mut() {
            Some(future) => future.poll(cx),
            None => Poll::Pending,
        }
    }
}

pin_project! {
    /// A future of one of several tiers.
    // The macro does not accept documentation on the fields of a variant.
    #[allow(missing_docs)]
    #[project = EitherProj]
    #[derive(Debug)]
    pub enum Either<A, B> {
        /// The future of this tier.
        This {
            #[pin] future: A },
        /// The future of a later tier.
        Later {
            #[pin] future: B },
    }
}

impl<A, B> Future for Either<A, B>
where
    A: Future,
    B: Future<Output = A::Output>,
{
    type Output = A::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<A::Output> {
        match self.project() {
            EitherProj::This { future } => future.poll(cx),
            EitherProj::Later { future } => future.poll(cx),
        }
    }
}

macro_rules! either {
    ($last:ident) => { $last };
    ($first:ident $($later:ident)+) => { Either<$first, either!($($later)+)> };
}

macro_rules! wrapped {
    ([] $future:expr) => { $future };
    ([$outer:ident $($inner:ident)*] $future:expr) => {
        Either::$outer { future: wrapped!([$($inner)*] $future) }
    };
}

macro_rules! tuple {
    ($len:literal: $($request:ident $future:ident $index:literal $path:tt,)+) => {
        impl<V, E, $($request, $future),+> Requests<V, E> for ($($request,)+)
        where
            $(
                $request: FnOnce() -> $future,
                $future: Future<Output = Result<V, E>>,
            )+
        {
            type Future = either!($($future)+);

            fn len(&self) -> usize {
                $len
            }

            #[allow(non_snake_case)]
            fn starter(self) -> impl FnMut(usize) -> Option<Self::Future> {
                let ($($request,)+) = self;
                $(let mut $request = Some($request);)+
                move |index| match index {
                    $($index => Some(wrapped!($path $request.take()?())),)+
                    _ => None,
                }
            }
        }
    };
}

tuple! { 1: A Fa 0 [], }
tuple! { 2: A Fa 0 [This], B Fb 1 [Later], }
tuple! { 3: A Fa 0 [This], B Fb 1 [Later This], C Fc 2 [Later Later], }
tuple! { 4:
    A Fa 0 [This],
    B Fb 1 [Later This],
    C Fc 2 [Later Later This],
    D Fd 3 [Later Later Later],
}
tuple! { 5:
    A Fa 0 [This],
    B Fb 1 [Later This],
    C Fc 2 [Later Later This],
    D Fd 3 [Later Later Later This],
    G Fg 4 [Later Later Later Later],
}
tuple! { 6:
    A Fa 0 [This],
    B Fb 1 [Later This],
    C Fc 2 [Later Later This],
    D Fd 3 [Later Later Later This],
    G Fg 4 [Later Later Later Later This],
    H Fh 5 [Later Later Later Later Later],
}
tuple! { 7:
    A Fa 0 [This],
    B Fb 1 [Later This],
    C Fc 2 [Later Later This],
    D Fd 3 [Later Later Later This],
    G Fg 4 [Later Later Later Later This],
    H Fh 5 [Later Later Later Later Later This],
    I Fi 6 [Later Later Later Later Later Later],
}
tuple! { 8:
    A Fa 0 [This],
    B Fb 1 [Later This],
    C Fc 2 [Later Later This],
    D Fd 3 [Later Later Later This],
    G Fg 4 [Later Later Later Later This],
    H Fh 5 [Later Later Later Later Later This],
    I Fi 6 [Later Later Later Later Later Later This],
    J Fj 7 [Later Later Later Later Later Later Later],
}
