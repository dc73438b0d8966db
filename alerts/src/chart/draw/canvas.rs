//! The pixels: a white sheet with a title, a legend, axes, bars and lines.

use std::sync::OnceLock;

use plotters::backend::BitMapBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Drawable, PathElement, PointCollection, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, IntoFont, RGBColor, TextStyle, register_font};

use super::scale::{Times, Values, is_drawable};
use super::{ChartError, HEIGHT, WIDTH};

/// The first column of the panels, and the last.
pub(super) const LEFT: i32 = 12;
pub(super) const RIGHT: i32 = 706;

pub(super) const INK: RGBColor = RGBColor(31, 41, 55);
pub(super) const GREY: RGBColor = RGBColor(156, 163, 175);
pub(super) const BULL: RGBColor = RGBColor(22, 163, 74);
pub(super) const BEAR: RGBColor = RGBColor(220, 38, 38);
pub(super) const THRESHOLD: RGBColor = RGBColor(217, 119, 6);
const FAINT: RGBColor = RGBColor(229, 231, 235);

const FONT: &str = "hack";
/// Characters of the title that fit.
const TITLE_CHARS: usize = 96;
/// Pixels a character of the legend takes.
const LEGEND_ADVANCE: i32 = 8;

/// A regime's colour: falling red, sideways grey, rising green, and others by turn.
pub(super) fn colour_of(label: &str, state: usize) -> RGBColor {
    const OTHERS: [RGBColor; 4] = [RGBColor(37, 99, 235), RGBColor(147, 51, 234), RGBColor(8, 145, 178), RGBColor(202, 138, 4)];
    match label.to_uppercase().as_str() {
        "BEAR" => BEAR,
        "STRONG_BEAR" => RGBColor(127, 29, 29),
        "CHOP" => GREY,
        "BULL" => BULL,
        "STRONG_BULL" => RGBColor(20, 83, 45),
        "CALM" => RGBColor(96, 165, 250),
        "TURBULENT" => RGBColor(249, 115, 22),
        _ => OTHERS[state % OTHERS.len()],
    }
}

/// A strip of the sheet, from its first row to its last.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    pub(super) top: i32,
    pub(super) bottom: i32,
}

impl Panel {
    /// A value's row.
    pub(super) fn y(self, scale: &Values, value: f64) -> i32 {
        let share = ((value - scale.low) / (scale.high - scale.low)).clamp(0.0, 1.0);
        self.bottom - (share * f64::from(self.bottom - self.top)).round() as i32
    }
}

/// Three bytes a pixel.
pub(super) struct Canvas {
    pixels: Vec<u8>,
}

impl Canvas {
    pub(super) fn new(title: &str) -> Result<Self, ChartError> {
        static IS_REGISTERED: OnceLock<bool> = OnceLock::new();
        let font = epaint_default_fonts::HACK_REGULAR;
        if !IS_REGISTERED.get_or_init(|| register_font(FONT, FontStyle::Normal, font).is_ok()) {
            return Err(ChartError::Backend { reason: "its font can't be read".to_owned() });
        }
        let mut canvas = Self { pixels: vec![255; (WIDTH * HEIGHT * 3) as usize] };
        let mut text: String = title.chars().filter(|c| !c.is_control()).take(TITLE_CHARS + 1).collect();
        if text.chars().count() > TITLE_CHARS {
            text = text.chars().take(TITLE_CHARS - 1).chain(['…']).collect();
        }
        canvas.text(&text, (LEFT, 8), 15, INK, HPos::Left)?;
        Ok(canvas)
    }

    pub(super) fn png(self) -> Result<Vec<u8>, ChartError> {
        let failed = |e: png::EncodingError| ChartError::Backend { reason: e.to_string() };
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, WIDTH, HEIGHT);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Balanced);
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&self.pixels).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(bytes)
    }

    /// Coloured squares with their names, as many as fit into the line.
    pub(super) fn legend(&mut self, entries: &[(RGBColor, String)]) -> Result<(), ChartError> {
        let mut x = LEFT;
        for (colour, name) in entries {
            let name: String = name.chars().filter(|c| !c.is_control()).take(48).collect();
            let width = 18 + LEGEND_ADVANCE * name.chars().count() as i32 + 14;
            if x + width > WIDTH as i32 {
                break;
            }
            self.bar((x, x + 10), (33, 43), *colour)?;
            self.text(&name, (x + 16, 31), 14, INK, HPos::Left)?;
            x += width;
        }
        Ok(())
    }

    /// Vertical lines through the panels, and labels below the last one.
    pub(super) fn times(&mut self, times: &Times, panels: &[Panel]) -> Result<(), ChartError> {
        for (x, label) in times.ticks() {
            for panel in panels {
                self.segment((x, panel.top), (x, panel.bottom), FAINT)?;
            }
            if (LEFT + 30..=RIGHT - 30).contains(&x) {
                self.text(&label, (x, 379), 13, INK, HPos::Center)?;
            }
        }
        self.text(&times.day(), (WIDTH as i32 - 6, 379), 12, INK, HPos::Right)
    }

    /// Horizontal lines through a panel, and labels at its right.
    pub(super) fn values(&mut self, scale: &Values, panel: Panel, words: impl Fn(f64) -> String) -> Result<(), ChartError> {
        for tick in scale.ticks() {
            let y = panel.y(scale, tick);
            self.rule(y, FAINT)?;
            self.text(&words(tick), (RIGHT + 8, y - 4), 13, INK, HPos::Left)?;
        }
        Ok(())
    }

    /// A line through what can be drawn. A point between two gaps is a dot.
    pub(super) fn path(
        &mut self,
        times: &Times,
        scale: &Values,
        panel: Panel,
        values: &[f64],
        colour: RGBColor,
    ) -> Result<(), ChartError> {
        let mut before: Option<(i32, i32)> = None;
        for (index, value) in values.iter().enumerate() {
            if !is_drawable(*value) {
                before = None;
                continue;
            }
            let point = (times.middle(index), panel.y(scale, *value));
            match before {
                // Twice, a row apart: two pixels thick.
                Some(from) => {
                    self.segment(from, point, colour)?;
                    self.segment((from.0, from.1 + 1), (point.0, point.1 + 1), colour)?;
                }
                None => self.bar((point.0 - 2, point.0 + 3), (point.1 - 2, point.1 + 3), colour)?,
            }
            before = Some(point);
        }
        Ok(())
    }

    /// A filled rectangle.
    pub(super) fn bar(&mut self, (left, right): (i32, i32), (a, b): (i32, i32), colour: RGBColor) -> Result<(), ChartError> {
        // The last column and row are not drawn; and what is there shows, however small.
        let (top, bottom) = (a.min(b), a.max(b).max(a.min(b) + 1));
        self.put(Rectangle::new([(left, top), (right.max(left + 1), bottom)], colour.filled()))
    }

    /// A line over the whole width.
    pub(super) fn rule(&mut self, y: i32, colour: RGBColor) -> Result<(), ChartError> {
        self.segment((LEFT, y), (RIGHT, y), colour)
    }

    /// The same, dashed.
    pub(super) fn dashes(&mut self, y: i32, colour: RGBColor) -> Result<(), ChartError> {
        (LEFT..RIGHT - 6).step_by(12).try_for_each(|x| self.bar((x, x + 7), (y, y + 2), colour))
    }

    fn segment(&mut self, from: (i32, i32), to: (i32, i32), colour: RGBColor) -> Result<(), ChartError> {
        self.put(PathElement::new(vec![from, to], colour.stroke_width(1)))
    }

    fn text(&mut self, text: &str, at: (i32, i32), size: i32, colour: RGBColor, side: HPos) -> Result<(), ChartError> {
        let style = TextStyle::from((FONT, size).into_font()).color(&colour).pos(Pos::new(side, VPos::Top));
        self.put(Text::new(text.to_owned(), at, style))
    }

    fn put<E>(&mut self, element: E) -> Result<(), ChartError>
    where
        for<'b> &'b E: PointCollection<'b, (i32, i32)>,
        for<'a> E: Drawable<BitMapBackend<'a>>,
    {
        let area: DrawingArea<BitMapBackend<'_>, Shift> =
            BitMapBackend::with_buffer(&mut self.pixels, (WIDTH, HEIGHT)).into_drawing_area();
        area.draw(&element).map_err(|e| ChartError::Backend { reason: e.to_string() })
    }
}
