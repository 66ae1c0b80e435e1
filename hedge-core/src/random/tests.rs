//! Kolmogorov–Smirnov tests, each of which must also reject a slightly wrong sampler.

use std::vec::Vec;

use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro128PlusPlus;
use statrs::distribution::{Beta, ContinuousCDF, Gamma, Normal};

use super::*;

type Xoshiro<'r> = Draws<'r, Xoshiro128PlusPlus>;

const DRAWS: usize = 40_000;
/// The critical value, which one correct sampler in 10 000 exceeds.
const CRITICAL: f64 = 2.23;

/// Returns √n · sup |Fₙ − F|, evaluated at every 80th draw. A draw represents all values that are
/// rounded to it, which matters close to 1.
fn statistic(
    seed: u64,
    cdf: impl Fn(f64) -> f64,
    mut draw: impl FnMut(&mut Xoshiro<'_>) -> f32,
) -> f64 {
    let mut rng = Xoshiro128PlusPlus::seed_from_u64(seed);
    let mut draws = Draws::new(&mut rng);
    let mut sample: Vec<f32> = (0..DRAWS).map(|_| draw(&mut draws)).collect();
    assert!(sample.iter().all(|x| x.is_finite()));
    sample.sort_by(f32::total_cmp);
    let n = DRAWS as f64;
    let between = |x: f32, y: f32| cdf((f64::from(x) + f64::from(y)) / 2.0);
    let distance = |(i, &x): (usize, &f32)| {
        let (low, high) = (between(x, x.next_down()), between(x, x.next_up()));
        (low - i as f64 / n).max((i + 1) as f64 / n - high)
    };
    let distances = sample.iter().enumerate().step_by(80).map(distance);
    distances.fold(0.0, f64::max) * libm::sqrt(n)
}

fn assert_passes(what: &str, statistic: f64) {
    assert!(statistic < CRITICAL, "{what}: {statistic}");
}

fn assert_fails(what: &str, statistic: f64) {
    assert!(statistic > CRITICAL, "{what}: {statistic}");
}

#[test]
fn uniform_draws_are_uniform() {
    assert_passes("uniform", statistic(1, |x| x, |draws| draws.uniform()));
    assert_passes(
        "below",
        statistic(
            2,
            |x| x,
            |draws| (draws.below(1_000_000) as f32 + 0.5) / 1e6,
        ),
    );
    assert_fails(
        "square",
        statistic(
            1,
            |x| x,
            |draws| {
                let x = draws.uniform();
                0.9 * x + 0.1 * x * x
            },
        ),
    );
}

#[test]
fn uniform_draws_stay_between_the_ends() {
    struct Constant(u32);
    impl rand_core::TryRng for Constant {
        type Error = core::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(self.0)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(self.0.into())
        }
        fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Self::Error> {
            Ok(())
        }
    }
    assert!(Draws::new(&mut Constant(0)).uniform() > 0.0);
    assert!(Draws::new(&mut Constant(u32::MAX)).uniform() < 1.0);
    assert_eq!(Draws::new(&mut Constant(u32::MAX)).below(7), 6);
    assert_eq!(Draws::new(&mut Constant(u32::MAX)).below(0), 0);
}

#[test]
fn normal_draws_are_normal() {
    let normal = Normal::standard();
    for seed in 1..=4 {
        assert_passes(
            "normal",
            statistic(seed, |x| normal.cdf(x), |draws| draws.normal()),
        );
    }
    assert_fails(
        "5 % too wide",
        statistic(1, |x| normal.cdf(x), |draws| 1.05 * draws.normal()),
    );
    // A sum of uniform draws, which is often used as an approximation, must fail.
    assert_fails(
        "sum",
        statistic(
            1,
            |x| normal.cdf(x),
            |draws| (0..3).map(|_| 2.0 * draws.uniform() - 1.0).sum(),
        ),
    );
}

#[test]
fn the_two_normals_of_a_pair_are_independent() {
    // The sum of two draws has variance 2 only if they are independent.
    let normal = Normal::standard();
    let sum = |draws: &mut Xoshiro<'_>| {
        (draws.normal() + draws.normal()) * core::f32::consts::FRAC_1_SQRT_2
    };
    assert_passes("sum", statistic(5, |x| normal.cdf(x), sum));
    let dependent = |draws: &mut Xoshiro<'_>| {
        let (x, y) = (draws.normal(), draws.normal());
        (x + 0.2 * x + libm::sqrtf(0.96) * y) * core::f32::consts::FRAC_1_SQRT_2
    };
    assert_fails("dependent", statistic(5, |x| normal.cdf(x), dependent));
}

const SHAPES: [f32; 10] = [0.3, 0.5, 0.9, 1.0, 1.5, 3.0, 10.0, 50.0, 300.0, 1000.0];

#[test]
fn gamma_draws_are_gamma() {
    for (seed, shape) in (10..).zip(SHAPES) {
        let gamma = Gamma::new(shape.into(), 1.0).unwrap();
        let test = |wrong: fn(&mut Xoshiro<'_>, f32) -> f32| {
            statistic(seed, |x| gamma.cdf(x), |draws| wrong(draws, shape))
        };
        assert_passes(
            &std::format!("gamma {shape}"),
            test(|draws, shape| draws.gamma(shape)),
        );
        // A shift by a twentieth of the standard deviation must fail.
        let shift = |draws: &mut Xoshiro<'_>, shape| draws.gamma(shape) + 0.05 * libm::sqrtf(shape);
        assert_fails(&std::format!("shifted gamma {shape}"), test(shift));
        if shape < 1.0 {
            let without_boost = |draws: &mut Xoshiro<'_>, shape| draws.gamma(shape + 1.0);
            assert_fails("without boost", test(without_boost));
        }
    }
}

#[test]
fn beta_draws_are_beta() {
    for (row, alpha) in (0..).zip(SHAPES) {
        // Each shape is used as α, with two partners each.
        for (column, beta) in SHAPES.into_iter().enumerate().skip(row % 5).step_by(5) {
            let cdf = Beta::new(alpha.into(), beta.into()).unwrap();
            let seed = 100 + 10 * row as u64 + column as u64;
            let statistic = statistic(seed, |x| cdf.cdf(x), |draws| draws.beta(alpha, beta));
            assert_passes(&std::format!("beta {alpha}, {beta}"), statistic);
        }
    }
}

#[test]
fn a_posterior_mean_with_noise_is_not_a_beta_draw() {
    let (alpha, beta) = (30.0_f32, 10.0_f32);
    let cdf = Beta::new(alpha.into(), beta.into()).unwrap();
    let mean = alpha / (alpha + beta);
    let uniform = |draws: &mut Xoshiro<'_>| mean + 0.01 * (draws.uniform() - 0.5);
    assert_fails("1 % noise", statistic(1, |x| cdf.cdf(x), uniform));
    // A normal distribution with the right mean and variance must fail.
    let deviation = libm::sqrtf(mean * (1.0 - mean) / (alpha + beta + 1.0));
    let normal = |draws: &mut Xoshiro<'_>| (mean + deviation * draws.normal()).clamp(0.0, 1.0);
    assert_fails("normal", statistic(1, |x| cdf.cdf(x), normal));
    // Swapped α and β, or one pseudo-count too many, must fail.
    assert_fails(
        "swapped",
        statistic(1, |x| cdf.cdf(x), |draws| draws.beta(beta, alpha)),
    );
    assert_fails(
        "off by one",
        statistic(1, |x| cdf.cdf(x), |draws| draws.beta(alpha, beta + 1.0)),
    );
}

#[test]
fn large_shapes_are_drawn_as_well_as_a_float_allows() {
    // The distribution is normal within the accuracy of the test.
    let normal = Normal::standard();
    for (seed, shape) in [(1, 1e5_f32), (2, 1e7)] {
        let standardised =
            |draws: &mut Xoshiro<'_>| (draws.gamma(shape) - shape) / libm::sqrtf(shape);
        assert_passes(
            &std::format!("gamma {shape}"),
            statistic(seed, |x| normal.cdf(x), standardised),
        );
    }
}

#[test]
fn shapes_that_cannot_be_are_survived() {
    let mut rng = Xoshiro128PlusPlus::seed_from_u64(1);
    let mut draws = Draws::new(&mut rng);
    let extremes = [
        f32::NAN,
        f32::NEG_INFINITY,
        -1.0,
        -0.0,
        0.0,
        f32::MIN_POSITIVE,
        1e-3,
        1.0,
        1e8,
        f32::MAX,
        f32::INFINITY,
    ];
    for alpha in extremes {
        assert!(draws.gamma(alpha).is_finite());
        for beta in extremes {
            for _ in 0..100 {
                assert!(
                    (0.0..=1.0).contains(&draws.beta(alpha, beta)),
                    "{alpha}, {beta}"
                );
            }
        }
    }
}

/// Checks the exact bits: any change of the code or of a platform's arithmetic would change the
/// meaning of seeds.
#[test]
fn one_seed_gives_the_same_bits_everywhere() {
    let mut rng = Xoshiro128PlusPlus::seed_from_u64(42);
    let mut draws = Draws::new(&mut rng);
    let mut hash = 0_u32;
    for i in 0..20_000 {
        let shape = SHAPES[i % SHAPES.len()];
        for draw in [draws.normal(), draws.beta(shape, 0.7), draws.gamma(shape)] {
            hash = hash.rotate_left(5) ^ draw.to_bits();
        }
    }
    assert_eq!(hash, 465_275_018);
}
