//! A token bucket in two halves.

use crate::attempt::Cause;

/// One token, in the unit that the bucket counts: millionths.
pub(super) const TOKEN: u64 = 1_000_000;

/// A token bucket of which delay hedges and retries have half each, and each may borrow from the other.
///
/// Without halves, errors that all replicas share would spend on retries the tokens that slow requests need. Each kind
/// may also take the other's tokens, unless the other was refused recently. So a kind that is alone has the whole
/// bucket, and each has half of it when both need tokens.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bucket {
    /// The sum of both halves, in millionths of a token.
    tokens: u64,
    /// The half of hedges minus the half of retries. Its magnitude is at most `tokens`, and at most what the bucket
    /// lacks to be full, so that neither half exceeds half of the capacity. A deposit is split evenly and does not
    /// change it.
    balance: i64,
    /// The number of deposits for which hedges, and for which retries, keep the other kind from borrowing. Set by a
    /// refusal.
    wanting: [u32; 2],
}

impl Bucket {
    pub(super) const fn new(tokens: u64) -> Self {
        Self {
            tokens,
            balance: 0,
            wanting: [0; 2],
        }
    }

    pub(super) const fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Adds the `amount` of so many `deposits` to a bucket that holds up to `capacity`.
    pub(super) fn deposit(&mut self, amount: u64, deposits: u32, capacity: u64) {
        self.tokens = self.tokens.saturating_add(amount).min(capacity);
        self.rebalance(capacity);
        for wanting in &mut self.wanting {
            *wanting = wanting.saturating_sub(deposits);
        }
    }

    /// Takes a token for `cause` if the bucket holds `needed` or is full, and returns whether it did. If not, the other
    /// kind may not borrow for the next `reserved` deposits.
    #[must_use]
    pub(super) fn withdraw(
        &mut self,
        cause: Cause,
        needed: u64,
        capacity: u64,
        reserved: u32,
    ) -> bool {
        let granted = self.covers(cause, needed, capacity);
        if granted {
            self.tokens -= TOKEN;
            let toward = -toward(cause);
            self.balance = self.balance.saturating_add(toward);
            self.rebalance(capacity);
        } else if let Some(wanting) = self.wanting.get_mut(half(cause)) {
            *wanting = reserved;
        }
        granted
    }

    /// Gives back a token that was taken for `cause`, as far as there is room for it.
    pub(super) fn refund(&mut self, cause: Cause, capacity: u64) {
        self.tokens = (self.tokens + TOKEN).min(capacity);
        self.balance = self.balance.saturating_add(toward(cause));
        self.rebalance(capacity);
    }

    /// Drops the tokens that a smaller bucket has no room for.
    pub(super) fn shrink(&mut self, capacity: u64) {
        self.tokens = self.tokens.min(capacity);
        self.rebalance(capacity);
    }

    /// Returns whether there is a token for `cause`. The bucket must hold `needed` or be full.
    fn covers(&self, cause: Cause, needed: u64, capacity: u64) -> bool {
        if self.tokens < needed.min(capacity).max(TOKEN) {
            return false;
        }
        let share = match cause {
            Cause::Retry => self.tokens.saturating_add_signed(-self.balance),
            _ => self.tokens.saturating_add_signed(self.balance),
        };
        // Both sides are doubled to stay in whole numbers. In a bucket of one token, a half never holds a whole token,
        // so a full half is enough.
        let is_own = share >= capacity.min(2 * TOKEN);
        let other = self.wanting.get(1 - half(cause));
        is_own || other.is_none_or(|wanting| *wanting == 0)
    }

    /// Moves to the other half what one half cannot hold or cannot pay.
    fn rebalance(&mut self, capacity: u64) {
        let room = self.tokens.min(capacity.saturating_sub(self.tokens));
        let room = i64::try_from(room).unwrap_or(i64::MAX);
        self.balance = self.balance.clamp(-room, room);
    }
}

/// Returns how a token for `cause` changes the balance.
const fn toward(cause: Cause) -> i64 {
    match cause {
        Cause::Retry => -(TOKEN as i64),
        _ => TOKEN as i64,
    }
}

const fn half(cause: Cause) -> usize {
    match cause {
        Cause::Retry => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A model of two buckets of half the capacity, counted in halves of a millionth.
    #[derive(Debug, Default)]
    struct Model {
        halves: [u64; 2],
        wanting: [u32; 2],
    }

    impl Model {
        fn deposit(&mut self, amount: u64, deposits: u32, capacity: u64) {
            // The model counts halves of a millionth, so each half gets as many units as there are millionths.
            for _ in 0..amount {
                // Add one unit at a time, to the half that has room.
                let sum: u64 = self.halves.iter().sum();
                if sum == 2 * capacity {
                    break;
                }
                let full = [self.halves[0] == capacity, self.halves[1] == capacity];
                match full {
                    [true, _] => self.halves[1] += 2,
                    [_, true] => self.halves[0] += 2,
                    _ => self.halves.iter_mut().for_each(|half| *half += 1),
                }
                self.halves[0] = self.halves[0].min(capacity);
                self.halves[1] = (self.halves[1]).min(capacity);
            }
            for wanting in &mut self.wanting {
                *wanting = wanting.saturating_sub(deposits);
            }
        }

        fn withdraw(&mut self, own: usize, capacity: u64, reserved: u32, token: u64) -> bool {
            let other = 1 - own;
            let alone = self.halves[own] >= (2 * token).min(capacity);
            let together = self.halves[own] + self.halves[other] >= 2 * token;
            if together && (alone || self.wanting[other] == 0) {
                let paid = self.halves[own].min(2 * token);
                self.halves[own] -= paid;
                self.halves[other] -= 2 * token - paid;
                return true;
            }
            self.wanting[own] = reserved;
            false
        }
    }

    fn cause(own: usize) -> Cause {
        [Cause::Delay, Cause::Retry][own]
    }

    proptest! {
        /// The model counts in units of 10^5, since single millionths would take too long.
        #[test]
        fn the_balance_says_what_two_buckets_would(
            burst in 1_u64..6,
            steps in prop::collection::vec((0_u8..4, 1_u32..30), 0..120),
        ) {
            const STRIDE: u64 = 100_000;
            let (capacity, reserved) = (burst * TOKEN, 10);
            let mut bucket = Bucket::new(0);
            let mut model = Model::default();
            for (step, n) in steps {
                match step {
                    own @ (0 | 1) => {
                        let own = usize::from(own);
                        let granted = bucket.withdraw(cause(own), TOKEN, capacity, reserved);
                        let expected =
                            model.withdraw(own, capacity / STRIDE, reserved, TOKEN / STRIDE);
                        prop_assert_eq!(granted, expected);
                    }
                    _ => {
                        bucket.deposit(u64::from(n) * STRIDE, n, capacity);
                        model.deposit(n.into(), n, capacity / STRIDE);
                    }
                }
                let [hedges, retries] = model.halves.map(|half| (half * STRIDE) as i64);
                prop_assert_eq!(2 * bucket.tokens() as i64, hedges + retries);
                prop_assert_eq!(2 * bucket.balance, hedges - retries);
                prop_assert_eq!(bucket.wanting, model.wanting);
            }
        }

        /// Threads collect deposits, and count them in any order.
        #[test]
        fn deposits_may_be_gathered_and_reordered(
            taken in prop::collection::vec(any::<bool>(), 0..8),
            deposits in prop::collection::vec(0_u64..900_000, 0..12),
        ) {
            let capacity = 8 * TOKEN;
            let mut one_by_one = Bucket::new(capacity);
            for retry in taken {
                let _ = one_by_one.withdraw(cause(retry.into()), TOKEN, capacity, 5);
            }
            let mut pending = one_by_one.clone();
            for amount in &deposits {
                one_by_one.deposit(*amount, 1, capacity);
            }
            pending.deposit(deposits.iter().sum(), deposits.len() as u32, capacity);
            prop_assert_eq!(one_by_one, pending);
        }
    }

    #[test]
    fn who_is_alone_has_the_whole_bucket() {
        for cause in [Cause::Delay, Cause::Retry] {
            let mut bucket = Bucket::new(8 * TOKEN);
            let granted = (0..20).filter(|_| bucket.withdraw(cause, TOKEN, 8 * TOKEN, 80));
            assert_eq!(granted.count(), 8);
        }
    }

    #[test]
    fn who_was_refused_lately_has_half() {
        let mut bucket = Bucket::new(0);
        let capacity = 8 * TOKEN;
        assert!(!bucket.withdraw(Cause::Delay, TOKEN, capacity, 80));
        bucket.deposit(4 * TOKEN, 40, capacity);
        // Retries get their half.
        let retries = (0..20).filter(|_| bucket.withdraw(Cause::Retry, TOKEN, capacity, 80));
        assert_eq!(retries.count(), 2);
        let hedges = (0..20).filter(|_| bucket.withdraw(Cause::Delay, TOKEN, capacity, 80));
        assert_eq!(hedges.count(), 2);
        // After 80 more deposits, they may borrow again.
        bucket.deposit(8 * TOKEN, 80, capacity);
        let retries = (0..20).filter(|_| bucket.withdraw(Cause::Retry, TOKEN, capacity, 80));
        assert_eq!(retries.count(), 8);
    }

    #[test]
    fn a_bucket_of_one_token_serves_both() {
        let mut bucket = Bucket::new(0);
        let mut granted = [0; 2];
        for n in 0..100 {
            bucket.deposit(TOKEN / 10, 1, TOKEN);
            // Both kinds always want a token, and take turns to ask first.
            for own in [n / 10 % 2, 1 - n / 10 % 2] {
                granted[own] += u32::from(bucket.withdraw(cause(own), TOKEN, TOKEN, 10));
            }
        }
        assert_eq!(granted[0] + granted[1], 10);
        assert!(granted[0] > 0 && granted[1] > 0, "{granted:?}");
    }

    #[test]
    fn a_refund_undoes_a_withdrawal() {
        let capacity = 8 * TOKEN;
        let mut bucket = Bucket::new(5 * TOKEN);
        let before = bucket.clone();
        assert!(bucket.withdraw(Cause::Retry, TOKEN, capacity, 80));
        bucket.refund(Cause::Retry, capacity);
        assert_eq!(bucket, before);
        // A bucket that is nearly full has room for a part of the token.
        let mut full = Bucket::new(capacity - TOKEN / 10);
        full.refund(Cause::Delay, capacity);
        assert_eq!(full, Bucket::new(capacity));
    }
}
