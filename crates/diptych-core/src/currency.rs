//! The currencies of ISO 4217 with the number of decimals each is written with.

use std::fmt;
use std::str::FromStr;

/// A currency of ISO 4217, such as `GBP`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// Codes of ISO 4217 (list one) whose amounts have no decimals.
const NO_DECIMALS: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF";

/// Codes whose amounts have three decimals.
const THREE_DECIMALS: &str = "BHD IQD JOD KWD LYD OMR TND";

/// Codes whose amounts have two decimals.
const TWO_DECIMALS: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD \
CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG \
HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK \
MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS \
SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD YER ZAR ZMW ZWG";

impl Currency {
    /// The pound sterling.
    pub const GBP: Self = Self(*b"GBP");
    /// The euro.
    pub const EUR: Self = Self(*b"EUR");
    /// The United States dollar.
    pub const USD: Self = Self(*b"USD");

    /// The three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // INVARIANT: only listed ASCII codes are ever wrapped.
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// How many decimals an amount is written with at least.
    #[must_use]
    pub fn decimals(self) -> u32 {
        match self.as_str() {
            code if listed(NO_DECIMALS, code) => 0,
            code if listed(THREE_DECIMALS, code) => 3,
            _ => 2,
        }
    }
}

impl FromStr for Currency {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let bytes: [u8; 3] = text.as_bytes().try_into().map_err(|_| ())?;
        let known = [TWO_DECIMALS, NO_DECIMALS, THREE_DECIMALS].iter().any(|list| listed(list, text));
        known.then_some(Self(bytes)).ok_or(())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

fn listed(list: &str, code: &str) -> bool {
    list.split_ascii_whitespace().any(|known| known == code)
}
