//! Whatever a table of what was learned holds, it is refused as a whole, or the strategy goes on and decides sanely.

#![no_main]

// The lab uses more of it.
#[allow(dead_code)]
#[path = "../whatif/src/engine.rs"]
mod engine;
mod use_it;

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use arbitrary::Unstructured;
use hedge_core::strategy::{Learned, ReadColumns, RestoreError, WriteColumns};
use hedge_core::{
    Adaptive, AnyStrategy, ExponentialBackoff, Fixed, Hedger, Instant, Optimal, Options,
    Percentile, Strategy, WorkloadAware,
};
use libfuzzer_sys::fuzz_target;

use crate::engine::{Lab, Still};
use crate::use_it::{MAX, use_it};

// Text that begins a JSON object is a table in a file; all else says how to spoil what was really learned.
fuzz_target!(|data: &[u8]| {
    if data.starts_with(b"{") {
        let Ok(learned) = serde_json::from_slice::<Learned>(data) else {
            return;
        };
        for strategy in fresh() {
            restored(strategy, |hedger| hedger.restore(&learned));
        }
    } else {
        let mut data = Unstructured::new(data);
        let Ok(&(ref strategy, ref columns)) = data.choose(&TRAINED) else {
            return;
        };
        let mut columns = columns.clone();
        // It ends for want of data.
        while columns.spoil(&mut data).is_ok() && !data.is_empty() {}
        restored(strategy.clone(), |hedger| {
            hedger.with_strategy(|strategy| strategy.restore(&columns, NOW))
        });
    }
});

const WINDOW: usize = 64;
const NOW: Instant = Instant::from_epoch(Duration::from_secs(1 << 20));

fn fresh() -> [AnyStrategy<WINDOW>; 7] {
    [
        Fixed::new(Duration::from_millis(5)).into(),
        Percentile::with_window(95.0).into(),
        Adaptive::new().into(),
        Optimal::with_window(95.0, 5.0).into(),
        ExponentialBackoff::new().into(),
        WorkloadAware::over(Percentile::with_window(90.0)).into(),
        WorkloadAware::over(Optimal::with_window(99.0, 2.0)).into(),
    ]
}

static TRAINED: LazyLock<Vec<(AnyStrategy<WINDOW>, Columns)>> = LazyLock::new(|| {
    let trained = |strategy| {
        let hedger = hedger(strategy);
        use_it(&hedger, Instant::ZERO, 500);
        hedger.with_strategy(|strategy| (strategy.clone(), Columns::of(strategy)))
    };
    fresh().map(trained).into()
});

fn hedger(strategy: AnyStrategy<WINDOW>) -> Lab<AnyStrategy<WINDOW>, MAX> {
    let mut options = Options::default();
    options.min_delay = Duration::from_millis(1);
    options.max_delay = Some(Duration::from_secs(10));
    Hedger::builder(Still)
        .strategy(strategy)
        .options(options)
        .without_metrics()
        .attempts::<MAX>()
        .build_local()
        .expect("the options are valid")
}

fn restored(
    strategy: AnyStrategy<WINDOW>,
    restore: impl FnOnce(&Lab<AnyStrategy<WINDOW>, MAX>) -> Result<(), RestoreError>,
) {
    let hedger = hedger(strategy);
    let exported = || hedger.with_strategy(|strategy| Columns::of(strategy));
    let before = exported();
    if restore(&hedger).is_err() {
        assert_eq!(exported(), before, "refused, but changed");
        return;
    }
    use_it(&hedger, NOW, 60);
    // It can be written, and read again.
    let after = exported();
    let again = hedger.with_strategy(|strategy| strategy.restore(&after, NOW));
    assert_eq!(again, Ok(()), "{after:?}");
}

/// A table that can be spoiled.
#[derive(Clone, Debug, Default, PartialEq)]
struct Columns(BTreeMap<&'static str, Vec<f64>>);

impl Columns {
    fn of(strategy: &AnyStrategy<WINDOW>) -> Self {
        let mut columns = Self::default();
        strategy.export(&mut columns, NOW);
        columns
    }

    fn spoil(&mut self, data: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        if self.0.is_empty() {
            return Err(arbitrary::Error::NotEnoughData);
        }
        let name = data.choose_index(self.0.len())?;
        let Some((&name, column)) = self.0.iter_mut().nth(name) else {
            return Ok(());
        };
        match data.int_in_range(0..=5)? {
            0 => {
                self.0.remove(name);
            }
            1 => column.truncate(data.arbitrary::<u8>()?.into()),
            2 => column.extend(vec![number(data)?; data.arbitrary::<u8>()?.into()]),
            3 => column.fill(number(data)?),
            _ => {
                let at = data.choose_index(column.len())?;
                column[at] = number(data)?;
            }
        }
        Ok(())
    }
}

/// Any number, but more often one that may be believed.
fn number(data: &mut Unstructured<'_>) -> arbitrary::Result<f64> {
    Ok(match data.int_in_range(0..=3)? {
        0 => data.arbitrary()?,
        1 => f64::from(data.arbitrary::<i32>()?),
        2 => f64::from(data.arbitrary::<i8>()?),
        _ => f64::from(data.arbitrary::<u16>()?) / 65_535.0,
    })
}

impl WriteColumns for Columns {
    fn column(&mut self, name: &'static str, values: &mut dyn Iterator<Item = f64>) {
        self.0.insert(name, values.collect());
    }
}

impl ReadColumns for Columns {
    fn column(&self, name: &str) -> Option<&[f64]> {
        self.0.get(name).map(Vec::as_slice)
    }
}
