//! Random histories: drawn, played, and made as short as they can be where one fails.

use crate::{Failure, Outcome};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use std::collections::hash_map::RandomState;
use std::fmt::Debug;
use std::hash::BuildHasher;

/// Plays so many histories, drawn by a strategy; one that fails is made shorter so often at most.
///
/// # Errors
/// The shortest history found that fails, with the seed that draws it again.
pub(crate) fn play_all<V: Debug>(
    (count, shrinks_max): (u32, u32),
    drawn: impl Strategy<Value = V>,
    play: impl AsyncFn(V) -> Outcome,
) -> Outcome {
    let mut config = Config {
        cases: count,
        failure_persistence: None,
        max_shrink_iters: shrinks_max,
        ..Config::default()
    };
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => RandomState::new().hash_one(count),
    };
    config.rng_seed = RngSeed::Fixed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(error.to_string()))?;
    let played = TestRunner::new(config).run(&drawn, |history| {
        let played = runtime.block_on(play(history));
        played.map_err(|failure| TestCaseError::fail(failure.to_string()))
    });
    played.map_err(|error| Failure::new(format!("PROPTEST_RNG_SEED={seed} repeats this: {error}")))
}
