//! Charts: bars with the range in which the middle half of the rounds lies, as SVG.

use anyhow::anyhow;
use plotters::prelude::*;

use crate::statistics::Spread;

/// One chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Name of its file, without the ending.
    pub name: &'static str,
    /// Panels, one below the other.
    pub panels: Vec<Panel>,
}

/// One group of bars on a scale of its own.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What the bars show, and the unit.
    pub title: String,
    /// Bars, from the top; those of bridgefwd stand out.
    pub bars: Vec<Bar>,
}

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it is of.
    pub label: String,
    /// How long it is.
    pub value: Spread,
    /// Is it ours?
    pub ours: bool,
}

const WIDTH: u32 = 900;
const BAR: u32 = 22;
const TITLE: u32 = 58;
const FOOT: u32 = 30;
const LABELS: u32 = 270;
const OURS: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const OTHERS: RGBColor = RGBColor(0xb8, 0xbc, 0xc4);

impl Chart {
    /// The drawing, which says from which commit its figures are.
    ///
    /// # Errors
    ///
    /// Where it cannot be drawn.
    pub fn svg(&self, commit: &str) -> anyhow::Result<String> {
        let heights = self.panels.iter().map(|panel| TITLE + BAR * panel.bars.len() as u32);
        let heights: Vec<u32> = heights.collect();
        let height = heights.iter().sum::<u32>() + FOOT;
        let mut text = String::new();
        {
            let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
            let failed = |error: DrawingAreaErrorKind<_>| anyhow!("cannot draw: {error}");
            root.fill(&WHITE).map_err(failed)?;
            let mut top = 0;
            for (panel, height) in self.panels.iter().zip(heights) {
                let area = root.clone().shrink((0, top), (WIDTH, height));
                draw(panel, &area).map_err(|error| anyhow!("cannot draw: {error}"))?;
                top += height;
            }
            let foot = format!(
                "commit {commit}; the line on a bar is where the middle half of the rounds lies"
            );
            let style = ("sans-serif", 12).into_font().color(&BLACK.mix(0.6));
            root.draw_text(&foot, &style, (12, height as i32 - 20)).map_err(failed)?;
            root.present().map_err(failed)?;
        }
        Ok(text)
    }
}

fn draw<'a>(
    panel: &Panel,
    area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>> {
    let longest = panel.bars.iter().map(|bar| bar.value.high).fold(f64::MIN_POSITIVE, f64::max);
    let title = ("sans-serif", 17).into_font();
    area.draw_text(&panel.title, &title.color(&BLACK), (12, 20))?;
    let label = ("sans-serif", 13).into_font().color(&BLACK);
    let room = f64::from(WIDTH - LABELS - 130);
    for (number, bar) in panel.bars.iter().enumerate() {
        let top = (TITLE - 10 + BAR * number as u32) as i32;
        let at = |value: f64| LABELS as i32 + (value.max(0.0) / longest * room) as i32;
        let (left, end, bottom) = (LABELS as i32, at(bar.value.median), top + BAR as i32 - 6);
        let color = if bar.ours { OURS } else { OTHERS };
        area.draw_text(&bar.label, &label, (12, top + 2))?;
        area.draw(&Rectangle::new([(left, top), (end, bottom)], color.filled()))?;
        let middle = (top + bottom) / 2;
        let ends = vec![(at(bar.value.low), middle), (at(bar.value.high), middle)];
        area.draw(&PathElement::new(ends, BLACK.stroke_width(2)))?;
        let beyond = end.max(at(bar.value.high)) + 8;
        area.draw_text(&shown(bar.value.median), &label, (beyond, top + 2))?;
    }
    Ok(())
}

/// Three digits that count.
fn shown(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_its_bars_labels_and_commit() {
        let value = Spread { median: 12.34, low: 11.0, high: 14.0 };
        let bar = |label: &str, ours| Bar { label: label.into(), value, ours };
        let panel = Panel {
            title: "latency, microseconds".into(),
            bars: vec![bar("direct", false), bar("bridgefwd", true)],
        };
        let chart = Chart { name: "test", panels: vec![panel.clone(), panel] };
        let svg = chart.svg("abc1234").unwrap();
        for part in ["<svg", "latency, microseconds", "direct", "bridgefwd", "12.3", "abc1234"] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        // Background, and two bars in each panel.
        assert_eq!(svg.matches("<rect").count(), 5);
        assert_eq!(svg.matches("#1F77B4").count(), 2);
    }

    #[test]
    fn figures_have_three_digits() {
        assert_eq!([1.234, 12.34, 123.4].map(shown), ["1.23", "12.3", "123"]);
    }
}
