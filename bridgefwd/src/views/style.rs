//! How an answer is shown: how wide, with which numbers, and by which clock.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::units;

/// How an answer is shown.
#[derive(Clone, Debug)]
pub struct Style {
    /// Columns of the terminal; `None` where the text goes to a file or a pipe: then every row is one
    /// line, however long.
    pub width: Option<u16>,
    /// Are packets and bytes shown to the last digit, rather than in units?
    pub exact: bool,
    /// By which clock times are shown.
    pub zone: TimeZone,
}

impl Style {
    /// For a text of that width: with units, and by the clock of this host, or of `TZ`.
    #[must_use]
    pub fn new(width: Option<u16>) -> Self {
        Self { width, exact: false, zone: TimeZone::system() }
    }

    /// Bytes in a column of them: `1.2kB`, or where they are exact `1240`.
    #[must_use]
    pub fn bytes(&self, bytes: u64) -> String {
        if self.exact { bytes.to_string() } else { units::bytes(bytes) }
    }

    /// Bytes in a sentence: `1.2kB`, or where they are exact `1240 bytes`.
    #[must_use]
    pub fn volume(&self, bytes: u64) -> String {
        if self.exact { super::counted(bytes, "byte", "bytes") } else { units::bytes(bytes) }
    }

    /// A count: `100k`, or where it is exact `100123`.
    #[must_use]
    pub fn count(&self, count: u64) -> String {
        if self.exact { count.to_string() } else { units::count(count) }
    }

    /// A time of a document, by the clock: `2026-11-25T17:03:08.123456+01:00`. What is none stays as it
    /// is.
    #[must_use]
    pub fn time(&self, rfc3339: &str) -> String {
        self.formatted(rfc3339, "%Y-%m-%dT%H:%M:%S%.6f")
    }

    /// The same without the day, to milliseconds: `17:03:08.123+01:00`.
    #[must_use]
    pub fn time_of_day(&self, rfc3339: &str) -> String {
        self.formatted(rfc3339, "%H:%M:%S%.3f")
    }

    /// Now, as a headline has it: `2026-11-25 17:03:08+01:00`.
    #[must_use]
    pub fn now(&self) -> String {
        self.formatted(&Timestamp::now().to_string(), "%Y-%m-%d %H:%M:%S")
    }

    /// A sentence with its times by the clock.
    #[must_use]
    pub fn times_in(&self, sentence: &str) -> String {
        let word = |word: &str| {
            let bare = word.trim_end_matches([',', '.', ':', ';']);
            let rest = word.get(bare.len()..).unwrap_or_default();
            format!("{}{rest}", self.time(bare))
        };
        sentence.split(' ').map(word).collect::<Vec<_>>().join(" ")
    }

    /// With the clock's distance from UTC, `Z` where there is none.
    fn formatted(&self, rfc3339: &str, format: &str) -> String {
        let Ok(time) = rfc3339.parse::<Timestamp>() else { return rfc3339.to_owned() };
        let time = time.to_zoned_datetime(self.zone.clone());
        let offset = if time.offset().is_zero() { "Z" } else { "%:z" };
        time.strftime(&format!("{format}{offset}")).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_zone(zone: &str) -> Style {
        let zone = TimeZone::posix(zone).unwrap();
        Style { width: None, exact: false, zone }
    }

    #[test]
    fn times_are_by_the_clock_and_say_which() {
        let time = "2026-11-25T16:03:08.123456Z";
        let berlin = in_zone("CET-1CEST,M3.5.0,M10.5.0/3");
        assert_eq!(berlin.time(time), "2026-11-25T17:03:08.123456+01:00");
        assert_eq!(berlin.time("2026-07-01T23:30:00Z"), "2026-07-02T01:30:00.000000+02:00");
        assert_eq!(berlin.time_of_day(time), "17:03:08.123+01:00");
        assert_eq!(in_zone("IST-5:30").time_of_day(time), "21:33:08.123+05:30");
        let utc = in_zone("UTC0");
        assert_eq!((utc.time(time), utc.time_of_day(time)), (time.into(), "16:03:08.123Z".into()));
        assert_eq!(utc.time("yesterday"), "yesterday");
        let now = utc.now();
        assert!(now.len() == 20 && now.ends_with('Z'), "{now}");
    }

    #[test]
    fn times_in_sentences_too() {
        let berlin = in_zone("CET-1");
        let said = "from 2026-11-25T16:00:00Z to 2026-11-25T16:03:08.5Z: nothing.";
        assert_eq!(
            berlin.times_in(said),
            "from 2026-11-25T17:00:00.000000+01:00 to 2026-11-25T17:03:08.500000+01:00: nothing."
        );
    }

    #[test]
    fn numbers_are_exact_where_that_is_asked() {
        let units = in_zone("UTC0");
        let exact = Style { exact: true, ..units.clone() };
        assert_eq!((units.bytes(1_290), exact.bytes(1_290)), ("1.2kB".into(), "1290".into()));
        assert_eq!((units.volume(1), exact.volume(1)), ("1B".into(), "1 byte".into()));
        assert_eq!((units.count(100_123), exact.count(100_123)), ("100k".into(), "100123".into()));
    }
}
