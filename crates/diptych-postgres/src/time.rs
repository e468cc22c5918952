//! Points in time as `timestamptz` carries them: microseconds since 2000, so that none are lost on the way.

use bytes::BytesMut;
use diptych_core::Timestamp;
use std::error::Error;

use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// 2000-01-01T00:00:00Z, from which PostgreSQL counts, in microseconds since 1970.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The earliest time that `timestamptz` holds: 4714-11-24 BC, a Julian day that PostgreSQL calls 0.
const MICROS_MIN: i64 = POSTGRES_EPOCH_MICROS - 211_813_488_000_000_000;

/// A point in time as a parameter or a column of type `timestamptz`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp(pub(crate) Timestamp);

impl ToSql for Stamp {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let micros = self.0.as_micros();
        if micros < MICROS_MIN {
            return Err("PostgreSQL keeps no time before 4714 BC".into());
        }
        out.extend_from_slice(&(micros - POSTGRES_EPOCH_MICROS).to_be_bytes());
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Stamp {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        Ok(Self(Timestamp::from_stored(micros.saturating_add(POSTGRES_EPOCH_MICROS))))
    }

    accepts!(TIMESTAMPTZ);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_to_the_microsecond() {
        for text in ["2026-07-07T09:00:00.123456Z", "1969-12-31T23:59:59.999999Z", "-004000-01-01T00:00:00Z"]
        {
            let time: Timestamp = text.parse().unwrap();
            let mut bytes = BytesMut::new();
            Stamp(time).to_sql(&Type::TIMESTAMPTZ, &mut bytes).unwrap();
            assert_eq!(Stamp::from_sql(&Type::TIMESTAMPTZ, &bytes).unwrap(), Stamp(time), "{text}");
        }
    }

    #[test]
    fn a_time_that_postgresql_does_not_know_is_refused() {
        let time = Timestamp::from_stored(i64::MIN);
        assert!(Stamp(time).to_sql(&Type::TIMESTAMPTZ, &mut BytesMut::new()).is_err());
    }
}
