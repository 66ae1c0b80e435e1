//! The weights of one octave.

use super::buckets::{GROUP, GROUPS_PER_ROW, PER_OCTAVE};

/// The samples to count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Which {
    All,
    Finished,
}

/// The buckets of an octave.
pub(super) struct Row<'a> {
    pub(super) finished: &'a [u16; PER_OCTAVE],
    pub(super) dropped: &'a [u16; GROUPS_PER_ROW],
}

impl Row<'_> {
    pub(super) fn weight(&self, which: Which) -> u32 {
        let finished: u32 = self.finished.iter().map(|&weight| u32::from(weight)).sum();
        if which == Which::Finished {
            return finished;
        }
        let dropped: u32 = self.dropped.iter().map(|&weight| u32::from(weight)).sum();
        finished + dropped * GROUP as u32
    }

    pub(super) fn bucket(&self, column: usize, which: Which) -> u64 {
        let finished = self.finished.get(column).copied().unwrap_or_default();
        let dropped = match which {
            Which::All => self.dropped.get(column / GROUP).copied(),
            Which::Finished => None,
        };
        u64::from(finished) + u64::from(dropped.unwrap_or_default())
    }
}
