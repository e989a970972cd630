//! Medians, quartiles and percentiles: what is said of many measurements.

use serde::Serialize;

/// What is said of a number of measurements: the middle one, and where the middle half of them lies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Half of them are smaller.
    pub median: f64,
    /// A quarter is smaller.
    pub low: f64,
    /// A quarter is larger.
    pub high: f64,
}

impl Spread {
    /// Of these; `None` where there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let sorted = sorted(values);
        Some(Self {
            median: quantile(&sorted, 0.5)?,
            low: quantile(&sorted, 0.25)?,
            high: quantile(&sorted, 0.75)?,
        })
    }

    /// Of the ratios of values that were measured in the same round.
    pub fn of_ratios(of: &[f64], to: &[f64]) -> Option<Self> {
        let ratios = of.iter().zip(to).filter(|(_, to)| **to != 0.0).map(|(of, to)| of / to);
        Self::of(&ratios.collect::<Vec<_>>())
    }
}

/// In ascending order.
pub fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// The value that `part` of all are below, 0 to 1, between two neighbours by their distance; `None`
/// where there are none.
pub fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let place = part * (sorted.len().checked_sub(1)?) as f64;
    let (below, above) = (sorted.get(place.floor() as usize)?, sorted.get(place.ceil() as usize)?);
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_quarters() {
        let spread = Spread::of(&[5.0, 1.0, 4.0, 2.0, 3.0]).unwrap();
        assert_eq!(spread, Spread { median: 3.0, low: 2.0, high: 4.0 });
        let spread = Spread::of(&[1.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { median: 1.5, low: 1.25, high: 1.75 });
        assert_eq!(Spread::of(&[7.0]).unwrap().high, 7.0);
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        // The machine became twice as slow in the second round; the ratio did not change.
        let spread = Spread::of_ratios(&[10.0, 20.0], &[5.0, 10.0]).unwrap();
        assert_eq!(spread, Spread { median: 2.0, low: 2.0, high: 2.0 });
        assert_eq!(Spread::of_ratios(&[1.0], &[0.0]), None);
    }

    #[test]
    fn percentiles() {
        let values = sorted(&(0..=100).rev().map(f64::from).collect::<Vec<_>>());
        assert_eq!(quantile(&values, 0.99), Some(99.0));
        assert_eq!(quantile(&values, 1.0), Some(100.0));
        assert_eq!(quantile(&values, 0.0), Some(0.0));
    }
}
