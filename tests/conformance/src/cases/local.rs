//! What only one thread can do: futures that are not `Send`.

use core::cell::Cell;
use core::marker::PhantomData;

use hedge_core::{Event, Timer};

use super::abandon;
use crate::backend::{Backend, never, ok};
use crate::{Home, World};

/// A request need not be `Send`, where its executor does not ask for it.
pub async fn a_request_need_not_be_send<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = world.build(world.fixed(1));
    let seen = Cell::new(0);
    let hedged = hedger
        .request(|attempt| {
            let seen = &seen;
            async move {
                let not_send = PhantomData::<*const ()>;
                world.sleep(if attempt.is_hedge() { 1 } else { 60 }).await;
                seen.set(seen.get() + 1);
                Ok::<_, ()>(not_send)
            }
        })
        .await
        .unwrap();
    assert_eq!((hedged.outcome.winner, seen.get()), (1, 1));
}

/// A sink may use the hedger: no lock is held while it is told.
pub async fn a_sink_may_use_the_hedger<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let told = Cell::new(0);
    let look: Cell<Option<&dyn Fn()>> = Cell::new(None);
    let hedger = world.build(world.fixed(1).timeout(world.ticks(60)).sink(|_: &Event| {
        told.set(told.get() + 1);
        if let Some(look) = look.get() {
            look();
        }
    }));
    let use_all = || {
        hedger.metrics();
        hedger.in_flight();
        hedger.with_strategy(|_| ());
        hedger.set_options(hedger.options()).unwrap();
    };
    look.set(Some(&use_all));
    let backend = Backend::new(world, &[never(), ok(1)]);
    hedger
        .request(|attempt| backend.call(attempt))
        .await
        .unwrap();
    let backend = Backend::new(world, &[]);
    abandon(&hedger, &backend, 2).await;
    assert_eq!(told.get(), 10);
}
