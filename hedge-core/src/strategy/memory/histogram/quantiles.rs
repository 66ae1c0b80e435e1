//! Quantiles, interpolated within a bucket.

use super::buckets::{BUCKETS, PER_OCTAVE, ROWS, UNIT_BITS, edge};
use super::row::Which;
use super::{ForgettingHistogram, Share};

/// The position of a quantile.
struct Place {
    bucket: usize,
    /// The weight of the bucket.
    weight: u64,
    /// The part of that weight above the quantile, in units of 2⁻¹⁶.
    above: u64,
}

/// A quantile, and what is known of the bucket that it lies in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    /// The interpolated quantile.
    pub(crate) nanos: u64,
    /// Where the bucket begins.
    pub(crate) low: u64,
    /// How wide it is; zero if the quantile lies in none.
    pub(crate) width: u64,
    /// The share of the bucket's samples that lie above the quantile.
    pub(crate) above: Share,
}

impl Estimate {
    const fn outside(nanos: u64) -> Self {
        Self {
            nanos,
            low: nanos,
            width: 0,
            above: Share::HALF,
        }
    }

    /// The quantile, or `most` if that is less.
    pub(crate) const fn at_most(self, most: u64) -> Self {
        if self.nanos <= most {
            self
        } else {
            Self::outside(most)
        }
    }
}

impl ForgettingHistogram {
    /// Returns the quantiles. Several of them take one pass over the buckets.
    pub(crate) fn quantiles(&self) -> Quantiles<'_> {
        let (mut all, mut finished) = ([0; ROWS], [0; ROWS]);
        for (row, (all, finished)) in self.rows().zip(all.iter_mut().zip(&mut finished)) {
            *finished = row.weight(Which::Finished);
            *all = row.weight(Which::All);
        }
        Quantiles {
            histogram: self,
            all,
            finished,
        }
    }
}

/// Quantiles of a [`ForgettingHistogram`].
pub(crate) struct Quantiles<'a> {
    histogram: &'a ForgettingHistogram,
    /// The weight of each row.
    all: [u32; ROWS],
    finished: [u32; ROWS],
}

impl Quantiles<'_> {
    /// Returns the latency that a share `above` of all samples exceeds, where dropped attempts count as finished: 0
    /// without samples, and `u64::MAX` if it is out of range.
    pub(crate) fn of_all(&self, above: Share) -> u64 {
        self.estimate(above).nanos
    }

    /// Returns [`of_all`](Self::of_all), with what is known of its bucket.
    pub(crate) fn estimate(&self, above: Share) -> Estimate {
        let Some(place) = self.find(above, Which::All) else {
            return Estimate::outside(0);
        };
        let nanos = between(&place, self.depth(&place));
        if nanos == u64::MAX {
            return Estimate::outside(nanos);
        }
        let low = edge(place.bucket);
        Estimate {
            nanos,
            low,
            width: edge(place.bucket + 1) - low,
            above: Share::of_bits((place.above << 16) / place.weight),
        }
    }

    /// Returns the latency that a share `above` of the finished attempts exceeds; `u64::MAX` if none finished.
    pub(crate) fn of_finished(&self, above: Share) -> u64 {
        let Some(place) = self.find(above, Which::Finished) else {
            return u64::MAX;
        };
        between(&place, place.above / place.weight)
    }

    /// Finds the place with a share `above` of the samples above it.
    fn find(&self, above: Share, which: Which) -> Option<Place> {
        let rows = match which {
            Which::All => &self.all,
            Which::Finished => &self.finished,
        };
        let total: u32 = rows.iter().sum();
        let mut above = (u64::from(total) * u64::from(above.bits())) >> 16;
        // Returns whether the quantile lies within the next `weight`.
        let mut holds = |weight: u64| {
            let weight = weight << 16;
            let holds = weight > 0 && weight >= above;
            above -= if holds { 0 } else { weight };
            holds
        };
        let nth = rows.iter().rposition(|weight| holds((*weight).into()))?;
        let row = self.histogram.rows().nth(nth)?;
        let column = (0..PER_OCTAVE).rfind(|column| holds(row.bucket(*column, which)))?;
        Some(Place {
            bucket: nth * PER_OCTAVE + column,
            weight: row.bucket(column, which),
            above,
        })
    }

    /// Returns how far below the upper end of its bucket the quantile is, as a share of the bucket's width in units of
    /// 2⁻¹⁶. The density is assumed to change within the bucket as it does between its neighbours.
    fn depth(&self, place: &Place) -> u64 {
        const ONE: i64 = 1 << 16;

        let at = place.bucket;
        // Scale the weights of the neighbours to the width of this bucket.
        let scaled = |other: usize| {
            let (width, other_width) = (edge(at + 1) - edge(at), edge(other + 1) - edge(other));
            (self.histogram.weight(other) << 8) * (width >> UNIT_BITS) / (other_width >> UNIT_BITS)
        };
        let (higher, lower) = (scaled(at + 1) as i64, scaled(at.saturating_sub(1)) as i64);
        let weight = place.weight as i64;
        let slope = (((higher - lower) << 7) / weight).clamp(-ONE, ONE);
        let linear = place.above as i64 / weight;
        let mut depth = linear;
        for _ in 0..4 {
            let density = ONE + ((slope * (ONE - depth)) >> 17);
            depth = ((linear << 16) / density.max(1)).clamp(0, ONE);
        }
        depth as u64
    }
}

/// Returns the latency that is `depth` below the upper end of its bucket, as a share of the bucket's width in units of
/// 2⁻¹⁶; `u64::MAX` in the last bucket.
fn between(place: &Place, depth: u64) -> u64 {
    if place.bucket == BUCKETS - 1 {
        return u64::MAX;
    }
    let (low, high) = (edge(place.bucket), edge(place.bucket + 1));
    high - ((((high - low) >> UNIT_BITS) * depth) << UNIT_BITS >> 16)
}
