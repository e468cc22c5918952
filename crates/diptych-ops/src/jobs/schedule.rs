//! When a job is due, in UTC. Pure: time is handed in.

use diptych_core::Timestamp;
use std::fmt;
use std::time::Duration;

/// The shortest time between two runs of a job.
pub const EVERY_MIN: Duration = Duration::from_secs(1);

/// The longest time between two runs of a job.
pub const EVERY_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);

const DAY_MICROS: i64 = 86_400_000_000;
const MINUTE_MICROS: i64 = 60_000_000;

/// When a job is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Schedule {
    /// Never by itself: only when somebody orders a run.
    OnOrder,
    /// Once a day, at a minute of the day in UTC.
    Daily {
        /// Minutes since midnight, below 1440.
        minute: u16,
    },
    /// Again and again after so long, counted from 1970-01-01T00:00:00Z, so that all processes mean the same.
    Every(Duration),
}

impl Schedule {
    /// Reads `02:00`.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn daily_at(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a time of the day such as `02:00`");
        let (hour, minute) = text.split_once(':').filter(|_| text.len() == 5).ok_or_else(wrong)?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let read = |text: &str| text.parse::<u16>().ok().filter(|_| digits(text));
        let (hour, minute) = (read(hour).ok_or_else(wrong)?, read(minute).ok_or_else(wrong)?);
        if hour > 23 || minute > 59 {
            return Err(wrong());
        }
        Ok(Self::Daily { minute: hour * 60 + minute })
    }

    /// Every so often.
    ///
    /// # Errors
    /// Shorter than [`EVERY_MIN`] or longer than [`EVERY_MAX`].
    pub fn every(period: Duration) -> Result<Self, String> {
        if period < EVERY_MIN || period > EVERY_MAX {
            return Err(format!("{period:?} is not between {EVERY_MIN:?} and 366 days"));
        }
        Ok(Self::Every(period))
    }

    /// The first time at which it is due after a time; none where it never is.
    #[must_use]
    pub fn next_after(self, time: Timestamp) -> Option<Timestamp> {
        let (period, offset) = self.period()?;
        let turn = (time.as_micros() - offset).div_euclid(period) + 1;
        Some(Timestamp::from_stored(turn.saturating_mul(period).saturating_add(offset)))
    }

    /// The last time at which it was due, not later than a time.
    #[must_use]
    pub fn last_through(self, time: Timestamp) -> Option<Timestamp> {
        let (period, _) = self.period()?;
        self.next_after(time).map(|next| Timestamp::from_stored(next.as_micros() - period))
    }

    /// How often it is due in `(after, through]`.
    #[must_use]
    pub fn times(self, after: Timestamp, through: Timestamp) -> u64 {
        let Some((period, _)) = self.period() else { return 0 };
        let last = |time| self.last_through(time).map_or(0, Timestamp::as_micros);
        u64::try_from((last(through) - last(after)) / period).unwrap_or(0)
    }

    /// The time between two runs and where in it they are, in microseconds.
    fn period(self) -> Option<(i64, i64)> {
        match self {
            Self::OnOrder => None,
            Self::Daily { minute } => Some((DAY_MICROS, i64::from(minute) * MINUTE_MICROS)),
            Self::Every(period) => Some((i64::try_from(period.as_micros()).unwrap_or(i64::MAX).max(1), 0)),
        }
    }
}

/// For people: `daily at 02:00 UTC`, `every 15 minutes`.
impl fmt::Display for Schedule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnOrder => out.write_str("only when ordered"),
            Self::Daily { minute } => write!(out, "daily at {:02}:{:02} UTC", minute / 60, minute % 60),
            Self::Every(period) => {
                let seconds = period.as_secs();
                let (count, unit) = match seconds {
                    _ if period.subsec_nanos() > 0 => return write!(out, "every {period:?}"),
                    s if s % 86_400 == 0 => (s / 86_400, "day"),
                    s if s % 3_600 == 0 => (s / 3_600, "hour"),
                    s if s % 60 == 0 => (s / 60, "minute"),
                    s => (s, "second"),
                };
                if count == 1 { write!(out, "every {unit}") } else { write!(out, "every {count} {unit}s") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_daily_job_is_due_once_a_day_at_its_minute() {
        let nightly = Schedule::daily_at("02:00").unwrap();
        let table = [
            ("2026-11-28T23:00:00Z", "2026-11-28T02:00:00Z", "2026-11-29T02:00:00Z"),
            ("2026-11-29T01:59:59Z", "2026-11-28T02:00:00Z", "2026-11-29T02:00:00Z"),
            ("2026-11-29T02:00:00Z", "2026-11-29T02:00:00Z", "2026-11-30T02:00:00Z"),
            ("1969-12-31T12:00:00Z", "1969-12-31T02:00:00Z", "1970-01-01T02:00:00Z"),
        ];
        for (now, last, next) in table {
            assert_eq!(nightly.last_through(time(now)), Some(time(last)), "{now}");
            assert_eq!(nightly.next_after(time(now)), Some(time(next)), "{now}");
        }
        assert_eq!(nightly.to_string(), "daily at 02:00 UTC");
    }

    #[test]
    fn runs_that_were_due_are_counted() {
        let nightly = Schedule::daily_at("02:00").unwrap();
        let counted = |from, to| nightly.times(time(from), time(to));
        assert_eq!(counted("2026-11-28T03:00:00Z", "2026-11-29T01:00:00Z"), 0);
        assert_eq!(counted("2026-11-28T03:00:00Z", "2026-11-29T02:00:00Z"), 1);
        assert_eq!(counted("2026-11-28T02:00:00Z", "2026-12-01T12:00:00Z"), 3);
        assert_eq!(Schedule::OnOrder.times(time("2026-11-28T02:00:00Z"), time("2026-12-01T12:00:00Z")), 0);
    }

    #[test]
    fn a_job_that_comes_again_and_again_is_due_at_the_same_times_in_every_process() {
        let often = Schedule::every(Duration::from_secs(900)).unwrap();
        assert_eq!(often.next_after(time("2026-11-28T03:07:10Z")), Some(time("2026-11-28T03:15:00Z")));
        assert_eq!(often.to_string(), "every 15 minutes");
        assert_eq!(Schedule::every(Duration::from_secs(3_600)).unwrap().to_string(), "every hour");
    }

    #[test]
    fn times_that_are_none_are_refused() {
        for wrong in ["", "2:00", "24:00", "02:60", "0200", "02:0x", "+2:00", "02:00:00"] {
            assert!(Schedule::daily_at(wrong).is_err(), "{wrong}");
        }
        for wrong in [Duration::ZERO, Duration::from_millis(999), EVERY_MAX + EVERY_MIN] {
            assert!(Schedule::every(wrong).is_err(), "{wrong:?}");
        }
    }
}
