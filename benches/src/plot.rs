//! Curves as an SVG picture: the cost of a packet as a number grows.
//!
//! The picture has a panel for each curve. The horizontal scale is logarithmic. The
//! vertical scale is linear from zero, and the same in all panels, so that a constant cost
//! is a horizontal line.

use std::fmt::Write as _;

/// Width and height of a panel's plot, and the margin around it, in pixels.
const PLOT: (f64, f64) = (250.0, 150.0);
const MARGIN: f64 = 46.0;

/// The cost of a packet as a number grows.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Name of the number that grows.
    pub name: &'static str,
    /// Values of the number, ascending and above 0, with the nanoseconds per packet.
    pub points: Vec<(u32, f64)>,
}

/// Returns the picture of all `curves`, two panels in a row.
#[must_use]
pub fn curves(curves: &[Curve]) -> String {
    let (width, height) = (PLOT.0 + 2.0 * MARGIN, PLOT.1 + 2.0 * MARGIN);
    let rows = curves.len().div_ceil(2) as f64;
    let most = curves.iter().flat_map(|curve| &curve.points).map(|point| point.1);
    // The scale ends at the next multiple of 20 ns above all points.
    let top = (most.fold(1.0, f64::max) / 20.0).ceil() * 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" \
         font-family=\"sans-serif\" font-size=\"11\" fill=\"#333\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        2.0 * width,
        rows * height
    );
    for (number, curve) in curves.iter().enumerate() {
        let corner = ((number % 2) as f64 * width, (number / 2) as f64 * height);
        // Writing to a string cannot fail.
        let _ = writeln!(svg, "<g transform=\"translate({},{})\">", corner.0, corner.1);
        panel(&mut svg, curve, top);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, curve: &Curve, top: f64) {
    let (left, right) = (MARGIN, MARGIN + PLOT.0);
    let (above, below) = (MARGIN, MARGIN + PLOT.1);
    let decades = f64::from(curve.points.last().map_or(1, |point| point.0)).log10().ceil().max(1.0);
    let along = |number: f64| left + PLOT.0 * number.log10() / decades;
    let across = |time: f64| below - PLOT.1 * time / top;
    let mut put = |text: String| {
        svg.push_str(&text);
        svg.push('\n');
    };
    put(format!(
        "<text x=\"{left}\" y=\"{:.1}\" font-weight=\"bold\">ns per packet, by {}</text>",
        above - 12.0,
        curve.name
    ));
    for step in 0..=(top / 20.0) as u32 {
        let time = f64::from(step) * 20.0;
        let y = across(time);
        put(format!(
            "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{time}</text>",
            left - 6.0,
            y + 4.0
        ));
    }
    for decade in 0..=decades as u32 {
        let x = along(10_f64.powi(decade.cast_signed()));
        put(format!(
            "<path d=\"M{x:.1} {above}V{below}\" stroke=\"#eee\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">10<tspan dy=\"-4\" \
             font-size=\"8\">{decade}</tspan></text>",
            below + 16.0
        ));
    }
    let place = |(number, time): &(u32, f64)| (along(f64::from(*number)), across(*time));
    let line: Vec<String> =
        curve.points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    put(format!(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#06c\" stroke-width=\"2\"/>",
        line.join(" ")
    ));
    for (x, y) in curve.points.iter().map(place) {
        put(format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#06c\"/>"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_match_the_scales() {
        let curve = Curve { name: "hosts", points: vec![(1, 0.0), (10, 20.0), (100, 40.0)] };
        let svg = curves(&[curve.clone(), curve]);
        // From the lower left corner through the centre to the upper right corner.
        let line = "points=\"46.0,196.0 171.0,121.0 296.0,46.0\"";
        assert_eq!(svg.matches(line).count(), 2, "{svg}");
        assert_eq!(svg.matches("<circle").count(), 6);
        assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
    }
}
