//! Changes of all keys at once.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::sync::OnceLock;
use std::vec::Vec;

use super::*;
use crate::record::Record;
use crate::runtime::still::Still;
use crate::strategy::{Hints, Plan};

/// Counts how often it is created afresh, and panics if a key could be created at that time.
struct Watching(Arc<(OnceLock<Hedger<Still>>, AtomicU32)>);

impl Strategy for Watching {
    fn fresh(&self) -> Option<Self> {
        let (hedger, made) = &*self.0;
        assert!(hedger.get().is_some_and(|h| h.state().keys_are_held()));
        made.fetch_add(1, Ordering::Relaxed);
        Some(Self(self.0.clone()))
    }

    fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
        Plan::after(Duration::from_secs(1))
    }

    fn record(&mut self, _: &Record) {}
}

#[test]
fn no_key_is_made_while_all_are_changed() {
    let hedger = Hedger::<Still>::builder().build().unwrap();
    let _ = hedger.key("a");
    let mut held = Vec::new();
    hedger.edit_all(|_| held.push(hedger.state().keys_are_held()));
    assert_eq!(held, [true, true]);
    let watched = Arc::new((OnceLock::new(), AtomicU32::new(0)));
    let _ = watched.0.set(hedger.clone());
    hedger.set_strategy(Watching(watched.clone())).unwrap();
    assert_eq!(watched.1.load(Ordering::Relaxed), 1);
    let _ = hedger.key("b");
    assert!(!hedger.state().keys_are_held());
}
