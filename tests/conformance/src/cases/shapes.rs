//! Unusual futures, and the end of time.

use core::time::Duration;

use futures_lite::future;
use hedge_core::{Instant, Timer};

use crate::backend::{Backend, never, ok, ok_soon};
use crate::{Home, World};

/// A request may borrow what is not `'static`: what it sends, and what it counts.
pub async fn a_request_may_borrow<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1));
    let key = [7_u8, 8, 9];
    let mut launched = 0;
    let hedged = hedger
        .request(|attempt| {
            launched += 1;
            let key = &key;
            async move {
                if attempt.is_hedge() {
                    world.sleep(1).await;
                    Ok::<_, ()>(&key[1..])
                } else {
                    future::pending().await
                }
            }
        })
        .await
        .unwrap();
    assert_eq!((hedged.value, launched), (&key[1..], 2));
}

/// Neither the values nor the errors need any trait, nor do they need to be the same size.
pub async fn results_need_no_traits<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    struct Bare;
    let hedger = world.build(world.fixed(1));
    let result = hedger.request(async |_| Err::<Bare, [Bare; 0]>([])).await;
    assert!(result.is_err());
    let result = hedger
        .request(async |_| Ok::<Bare, core::convert::Infallible>(Bare))
        .await;
    assert!(matches!(result.map(|hedged| hedged.value), Ok(Bare)));
}

/// A clock that comes to the end of its range ends requests; none hangs or panics.
pub async fn the_clock_may_end<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let shift = Instant::MAX.since(world.now() + world.ticks(6));
    let late = world.with_timer(Late {
        timer: world.timer().clone(),
        shift,
    });
    let hedger = late.build(late.fixed(2));

    // With time to spare: as ever.
    let backend = Backend::new(&late, &[never(), ok(1)]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(hedged.value, 1);
    // Every deadline beyond the end is at the end.
    let backend = Backend::new(&late, &[]);
    let call = hedger.call().timeout(late.ticks(60));
    assert!(
        call.request(|attempt| backend.call(attempt))
            .await
            .unwrap_err()
            .is_timeout()
    );
    assert_eq!(late.now(), Instant::MAX);

    // At the end every moment has come.
    let hedger = late.build(late.fixed(2).timeout(late.ticks(1)));
    let backend = Backend::new(&late, &[ok(0)]);
    assert_eq!(
        hedger
            .request(|attempt| backend.call(attempt))
            .await
            .unwrap()
            .value,
        0
    );
    let backend = Backend::new(&late, &[never()]);
    let error = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap_err();
    assert!(error.is_timeout());
    let hedger = late.build(late.fixed(2).max_hedges(3));
    let backend = Backend::new(&late, &[never(), never(), never(), ok_soon()]);
    let hedged = hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    assert_eq!(
        (hedged.value, hedged.outcome.total_latency),
        (3, Duration::ZERO)
    );
}

/// A clock that was started long ago.
#[derive(Clone)]
struct Late<T> {
    timer: T,
    shift: Duration,
}

impl<T: Timer> Timer for Late<T> {
    type Sleep = T::Sleep;

    fn now(&self) -> Instant {
        self.timer.now() + self.shift
    }

    fn sleep_until(&self, deadline: Instant) -> T::Sleep {
        let deadline = deadline.since_epoch().saturating_sub(self.shift);
        self.timer.sleep_until(Instant::from_epoch(deadline))
    }
}
