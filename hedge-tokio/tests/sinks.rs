//! A sink that takes its time.

use core::time::Duration;
use std::sync::{Mutex, mpsc};
use std::thread;

use hedge_tokio::{Attempt, Budget, Event, Fixed, Hedger, Outcome};
use tokio::runtime::Builder;

/// So long that it does not pass.
const EVER: Duration = Duration::from_secs(60);

/// While a sink handles an event of one request and does not return, other requests are made, hedged and counted, and
/// the hedger can be read and changed: nothing is locked.
#[test]
fn a_sink_that_blocks_holds_up_its_own_request_only() {
    for blocking in ["request.start", "hedge.fired", "hedge.won", "request.stop"] {
        let (entered, is_in) = mpsc::channel();
        let (leave, may_leave) = mpsc::channel::<()>();
        let gate = Mutex::new(Some((entered, may_leave)));
        let sink = move |event: &Event| {
            if event.kind.name() == blocking {
                // The first only; the lock is this sink's own.
                let gate = gate.lock().unwrap().take();
                if let Some((entered, may_leave)) = gate {
                    entered.send(()).unwrap();
                    assert!(may_leave.recv_timeout(EVER).is_ok(), "the others wait");
                }
            }
        };
        let hedger = Hedger::builder()
            .strategy(Fixed::new(Duration::ZERO))
            .budget(Budget::unlimited())
            .sink(sink)
            .build()
            .unwrap();
        let blocked = thread::spawn({
            let hedger = hedger.clone();
            move || request(&hedger)
        });
        is_in.recv_timeout(EVER).unwrap();
        for _ in 0..100 {
            assert!(request(&hedger).hedge_won);
        }
        hedger.set_options(hedger.options()).unwrap();
        hedger.set_strategy(Fixed::new(Duration::ZERO)).unwrap();
        assert!(hedger.metrics().total_requests >= 100);
        leave.send(()).unwrap();
        assert!(blocked.join().unwrap().hedge_won, "{blocking}");
        let metrics = hedger.metrics();
        assert_eq!((metrics.won, metrics.hedge_wins), (101, 101));
        assert_eq!((metrics.hedges, hedger.in_flight()), (101, 0));
    }
}

/// A request that its hedge wins, in a separate runtime.
fn request(hedger: &Hedger) -> Outcome {
    let runtime = Builder::new_current_thread().enable_time().build();
    let attempt = |attempt: Attempt| async move {
        if !attempt.is_hedge() {
            core::future::pending::<()>().await;
        }
        Ok::<_, ()>(())
    };
    let hedged = runtime.unwrap().block_on(hedger.request(attempt));
    hedged.unwrap().outcome
}
