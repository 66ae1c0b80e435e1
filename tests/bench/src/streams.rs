//! What an item of the winner's stream costs over the same item of the bare stream.

use core::future::Future;
use core::hint::black_box;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::time::Instant;

use futures_lite::{Stream, stream};
use hedge_core::stream::HedgedStream;
use hedge_tokio::{Hedger, TokioTimer};

use crate::options::Streams;
use crate::processor;
use crate::rounds::{Judge, Patience, Round, alternate};
use crate::runtime::Flavour;

/// How long undisturbed rounds are waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// One way to read a stream.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) ns: f64,
    /// Over the bare stream.
    pub(crate) extra_ns: f64,
    /// Allocations of a whole stream, which should be none.
    pub(crate) allocations: u64,
}

type Read = fn(&Hedger, u64) -> Result<(), String>;

const WAYS: [(&str, Read); 4] = [
    ("bare", |_, items| read(numbers(items), items)),
    ("hedged", |hedger, items| read(open(hedger, items)?, items)),
    ("hedged, stall limit", |hedger, items| {
        read(open(hedger, items)?.stall(Duration::from_secs(10)), items)
    }),
    ("hedged, report", |hedger, items| {
        let report = |report| {
            black_box(report);
        };
        read(open(hedger, items)?.report(report), items)
    }),
];

pub(crate) fn measure(options: &Streams) -> Result<Vec<Row>, String> {
    let runtime = Flavour::CurrentThread.start()?;
    let _guard = runtime.enter();
    let hedger = Hedger::builder()
        .build()
        .map_err(|error| error.to_string())?;
    let judge = Judge::new();
    let patience = Patience {
        wanted: options.rounds,
        time: PATIENCE,
    };
    let rounds = alternate(&judge, WAYS.len(), patience, |way| {
        let waited = processor::thread_waited();
        let start = Instant::now();
        (WAYS[way].1)(&hedger, options.items)?;
        let took = start.elapsed();
        Ok::<_, String>(Round {
            value: took.as_nanos() as f64 / options.items as f64,
            took,
            waited: processor::since(waited, processor::thread_waited()),
        })
    })?;
    let medians: Vec<f64> = rounds
        .iter()
        .map(|rounds| rounds.median(patience))
        .collect();
    let counted = |read: Read| {
        let mut result = Ok(());
        let counted = allocation_counter::measure(|| result = read(&hedger, options.items));
        result.map(|()| counted.count_total)
    };
    WAYS.into_iter()
        .zip(&medians)
        .map(|((name, read), &ns)| {
            Ok(Row {
                name,
                ns,
                extra_ns: ns - medians[0],
                allocations: counted(read)?,
            })
        })
        .collect()
}

/// So many numbers, all of them ready.
fn numbers(items: u64) -> impl Stream<Item = Result<u64, ()>> + Unpin {
    stream::iter((0..items).map(|n| Ok(black_box(n))))
}

/// The winner's stream.
fn open(
    hedger: &Hedger,
    items: u64,
) -> Result<
    HedgedStream<impl Stream<Item = Result<u64, ()>> + Unpin + use<>, u64, TokioTimer>,
    String,
> {
    let hedged = hedger.stream(|_| async move { Ok(numbers(items)) });
    match pin!(hedged).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(hedged)) => Ok(hedged.value),
        Poll::Ready(Err(error)) => Err(format!("{error:?}")),
        Poll::Pending => Err("the first item is not ready".into()),
    }
}

/// Reads a stream to its end.
fn read<E>(items: impl Stream<Item = Result<u64, E>>, expected: u64) -> Result<(), String> {
    let mut items = pin!(items);
    let (mut cx, mut count) = (Context::from_waker(Waker::noop()), 0);
    while let Poll::Ready(Some(item)) = next(items.as_mut(), &mut cx) {
        count += u64::from(black_box(item).is_ok());
    }
    if count == expected {
        Ok(())
    } else {
        Err(format!("{count} items instead of {expected}"))
    }
}

// Not inlined, as a stream that is read elsewhere.
#[inline(never)]
fn next<S: Stream>(items: Pin<&mut S>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
    items.poll_next(cx)
}
