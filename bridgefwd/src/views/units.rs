//! Numbers for people. Programs take `--json`.

/// Bytes in powers of a thousand, three or four characters and the unit: `532B`, `1.2kB`, `48MB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    scaled(count, 1_000, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// A count, to the last digit while it is short: `99999`, then `100k`, `1.2M`.
#[must_use]
pub fn count(count: u64) -> String {
    scaled(count, 100_000, &["", "k", "M", "G", "T", "P", "E"])
}

/// Seconds, the two largest units: `45s`, `12m05s`, `3h04m`, `2d03h`.
#[must_use]
pub fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m{:02}s", seconds % 60),
        3_600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// A rate of bytes a second, as bits: `0`, `512 bit/s`, `1.2 Mbit/s`.
#[must_use]
pub fn bits_per_second(bytes: f64) -> String {
    let bits = (bytes * 8.0).round();
    if bits < 1.0 {
        return "0".into();
    }
    // Far beyond what any line carries it is cut to the largest that there is.
    let units = [" bit/s", " kbit/s", " Mbit/s", " Gbit/s", " Tbit/s", " Pbit/s"];
    scaled(bits as u64, 1_000, &units)
}

/// How many a second: `0`, `0.4`, `12`, `100k`.
#[must_use]
pub fn per_second(rate: f64) -> String {
    if rate > 0.0 && rate < 9.95 { format!("{rate:.1}") } else { count(rate.round() as u64) }
}

/// `count` as it is below `exact`, else cut (never rounded up: 999 999 is not a million) to two or
/// three digits of the largest unit of a thousand.
fn scaled(count: u64, exact: u64, units: &[&str]) -> String {
    let mut scale = 1;
    let mut chosen = 0;
    if count >= exact {
        while chosen + 1 < units.len() && count / scale >= 1_000 {
            scale *= 1_000;
            chosen += 1;
        }
    }
    let unit = units.get(chosen).copied().unwrap_or_default();
    let whole = count / scale;
    if scale > 1 && whole < 10 {
        format!("{whole}.{}{unit}", count % scale * 10 / scale)
    } else {
        format!("{whole}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_cut_not_rounded() {
        let cases = [
            (0, "0B"),
            (999, "999B"),
            (1_000, "1.0kB"),
            (1_290, "1.2kB"),
            (48_900, "48kB"),
            (999_999, "999kB"),
            (50_000_000, "50MB"),
            (u64::MAX, "18EB"),
        ];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn counts_are_exact_while_short() {
        for (number, text) in [(0, "0"), (99_999, "99999"), (100_000, "100k"), (1_250_000, "1.2M")]
        {
            assert_eq!(count(number), text);
        }
        assert_eq!(count(u64::MAX), "18E");
    }

    #[test]
    fn rates_are_bits_and_each() {
        let cases = [
            (0.0, "0"),
            (0.01, "0"),
            (64.0, "512 bit/s"),
            (156_250.0, "1.2 Mbit/s"),
            (1.25e9, "10 Gbit/s"),
            (f64::MAX, "18446 Pbit/s"),
        ];
        for (bytes, text) in cases {
            assert_eq!(bits_per_second(bytes), text);
        }
        for (rate, text) in [(0.0, "0"), (0.04, "0.0"), (0.4, "0.4"), (9.96, "10"), (1e5, "100k")] {
            assert_eq!(per_second(rate), text);
        }
    }

    #[test]
    fn durations_have_two_units() {
        let cases = [
            (0, "0s"),
            (59, "59s"),
            (60, "1m00s"),
            (725, "12m05s"),
            (3_600, "1h00m"),
            (11_059, "3h04m"),
            (183_600, "2d03h"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
    }
}
