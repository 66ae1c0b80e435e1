//! Attempts that are tasks, and the reports of their ends to a set of replicas.

use core::fmt;
use core::future::Future;
use std::sync::{Arc, PoisonError};

use super::{AttemptEnd, Chosen, ReplicaSet};
use crate::attempt::Attempt;
use crate::sync::Mutex;
use crate::time::Timer;

/// Decides for each attempt of a request whether the request or the attempt's task reports its end.
///
/// The request reports ends while it lasts, since it classifies results. A task that outlives the request reports its
/// own end.
#[derive(Clone)]
pub(crate) struct Tasks(Arc<[Mutex<State>; 8]>);

#[derive(Clone, Copy, Debug)]
enum State {
    /// There is no task, or it has ended.
    NoTask,
    Running,
    /// The request is over. If the task is aborted, this end is reported, by the request or by the task.
    Released(Chosen, AttemptEnd),
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self(Arc::new(core::array::from_fn(|_| {
            Mutex::new(State::NoTask)
        })))
    }

    /// Leaves attempt `index` to its task, since the request is over. Returns whether the task still runs, so that it
    /// reports the end.
    pub(crate) fn release(&self, index: u8, chosen: Chosen, end: AttemptEnd) -> bool {
        let running = |state| matches!(state, State::Running);
        running(self.update(index, |state| {
            if running(state) {
                State::Released(chosen, end)
            } else {
                state
            }
        }))
    }

    /// Makes the future of an attempt's task from that of the attempt.
    pub(crate) fn attempt<S, T, F, V, E>(
        &self,
        attempt: Attempt,
        set: S,
        timer: T,
        future: F,
    ) -> impl Future<Output = Result<V, E>> + use<S, T, F, V, E>
    where
        S: ReplicaSet,
        T: Timer,
        F: Future<Output = Result<V, E>>,
    {
        let index = attempt.index() as u8;
        self.update(index, |_| State::Running);
        let report = Report {
            tasks: self.clone(),
            index,
            set,
            timer,
            end: None,
        };
        async move {
            // Move the whole report into the block, which would otherwise capture only `end`.
            let mut report = report;
            let result = future.await;
            // The result of a task that outlived its request is not classified.
            report.end = Some(match result {
                Ok(_) => AttemptEnd::Answered,
                Err(_) => AttemptEnd::Failed,
            });
            drop(report);
            result
        }
    }

    /// Replaces a state by what `f` returns. Returns the old one.
    fn update(&self, index: u8, f: impl FnOnce(State) -> State) -> State {
        let Some(state) = self.0.get(usize::from(index)) else {
            return State::NoTask;
        };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let old = *state;
        *state = f(old);
        old
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").finish_non_exhaustive()
    }
}

/// Reports the end of a task that outlived its request.
struct Report<S: ReplicaSet, T: Timer> {
    tasks: Tasks,
    index: u8,
    set: S,
    timer: T,
    /// `None` until the attempt has a result.
    end: Option<AttemptEnd>,
}

impl<S: ReplicaSet, T: Timer> Drop for Report<S, T> {
    fn drop(&mut self) {
        if let State::Released(chosen, end) = self.tasks.update(self.index, |_| State::NoTask) {
            let end = self.end.unwrap_or(end);
            self.set.report(&chosen, end, self.timer.now());
        }
    }
}
