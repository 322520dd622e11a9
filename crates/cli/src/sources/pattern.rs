//! The moving test pattern: colour bars, a grey ramp, a bouncing ball, a hand that turns once a second, the clock and the
//! number of the frame.

use std::time::Duration;

use super::font;

/// Pixels across.
pub const WIDTH: usize = 640;
/// Pixels down.
pub const HEIGHT: usize = 360;
/// Frames a second.
pub const FRAME_RATE: u32 = 30;

type Colour = [u8; 3];

const BARS: [Colour; 7] = [
    [191, 191, 191],
    [191, 191, 0],
    [0, 191, 191],
    [0, 191, 0],
    [191, 0, 191],
    [191, 0, 0],
    [0, 0, 191],
];
const INK: Colour = [240, 244, 248];
const PANEL: Colour = [18, 28, 40];
const WARM: Colour = [255, 180, 84];
const COOL: Colour = [92, 200, 255];

/// Draws frames, 8-bit RGB.
#[derive(Clone, Debug)]
pub struct TestPattern {
    background: Vec<u8>,
    canvas: Vec<u8>,
}

impl Default for TestPattern {
    fn default() -> Self {
        Self::new()
    }
}

impl TestPattern {
    /// Draws what never moves, once.
    pub fn new() -> Self {
        let mut background = vec![0; WIDTH * HEIGHT * 3];
        let ramp_top = HEIGHT * 3 / 4;
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                let colour = if y < ramp_top {
                    BARS[x * BARS.len() / WIDTH]
                } else {
                    // Sixteen flat steps: cheaper to encode than a smooth ramp, and banding is plain to see.
                    let grey = (x * 16 / WIDTH * 17) as u8;
                    [grey; 3]
                };
                let at = (y * WIDTH + x) * 3;
                background[at..at + 3].copy_from_slice(&colour);
            }
        }
        Self {
            canvas: background.clone(),
            background,
        }
    }

    /// Frame `number`, seen at `clock` (time of day, UTC): `WIDTH * HEIGHT` RGB pixels, row by row.
    pub fn draw(&mut self, number: u64, clock: Duration) -> &[u8] {
        self.canvas.copy_from_slice(&self.background);
        let (x, y) = (bounce(number * 5, WIDTH - 48), bounce(number * 3, HEIGHT - 48));
        self.ball(x + 24, y + 24, 22);
        // The panel covers the ball, so that the clock can always be read.
        self.rectangle(120, 70, 400, 150, PANEL);
        self.text("ANTIPHON", 140, 84, 4, WARM);
        self.text("FRAME", 140, 184, 3, COOL);
        let day = clock.as_secs() % 86_400;
        let time = format!(
            "{:02}:{:02}:{:02}.{:03}",
            day / 3600,
            day / 60 % 60,
            day % 60,
            clock.subsec_millis()
        );
        self.text(&time, 140, 126, 5, INK);
        self.text(&format!("{number:06}"), 250, 184, 3, INK);
        let angle = (number % u64::from(FRAME_RATE)) as f32 / FRAME_RATE as f32 * std::f32::consts::TAU;
        self.hand(470, 190, 22.0, angle);
        &self.canvas
    }

    fn set(&mut self, x: usize, y: usize, colour: Colour) {
        if x < WIDTH && y < HEIGHT {
            let at = (y * WIDTH + x) * 3;
            self.canvas[at..at + 3].copy_from_slice(&colour);
        }
    }

    fn rectangle(&mut self, left: usize, top: usize, width: usize, height: usize, colour: Colour) {
        for y in top..top + height {
            for x in left..left + width {
                self.set(x, y, colour);
            }
        }
    }

    fn text(&mut self, text: &str, left: usize, top: usize, scale: usize, colour: Colour) {
        for (n, character) in text.bytes().enumerate() {
            let x = left + n * (font::WIDTH + 1) * scale;
            for (row, bits) in font::glyph(character).into_iter().enumerate() {
                for column in 0..font::WIDTH {
                    if bits >> (font::WIDTH - 1 - column) & 1 == 1 {
                        self.rectangle(x + column * scale, top + row * scale, scale, scale, colour);
                    }
                }
            }
        }
    }

    fn ball(&mut self, cx: usize, cy: usize, radius: usize) {
        for y in cy - radius..=cy + radius {
            for x in cx - radius..=cx + radius {
                let (dx, dy) = (x.abs_diff(cx), y.abs_diff(cy));
                if dx * dx + dy * dy <= radius * radius {
                    self.set(x, y, WARM);
                }
            }
        }
    }

    fn hand(&mut self, cx: usize, cy: usize, length: f32, angle: f32) {
        let (sin, cos) = angle.sin_cos();
        for step in 0..=(length as usize * 2) {
            let along = step as f32 / 2.0;
            let (x, y) = (cx as f32 + sin * along, cy as f32 - cos * along);
            self.rectangle(x as usize - 1, y as usize - 1, 3, 3, COOL);
        }
    }
}

/// There and back between 0 and `span`.
fn bounce(step: u64, span: usize) -> usize {
    let at = (step % (2 * span as u64)) as usize;
    if at < span { at } else { 2 * span - at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_differ_and_repeat_for_equal_input() {
        let mut pattern = TestPattern::new();
        let first = pattern.draw(1, Duration::from_millis(1_000)).to_vec();
        let second = pattern.draw(2, Duration::from_millis(1_033)).to_vec();
        assert_eq!(first.len(), WIDTH * HEIGHT * 3);
        assert_ne!(first, second);
        assert_eq!(first, pattern.draw(1, Duration::from_millis(1_000)));
    }

    #[test]
    fn any_frame_number_and_time_can_be_drawn() {
        let mut pattern = TestPattern::new();
        for number in [0, 29, 12_345, 999_999, 1_000_000, u64::MAX / 8] {
            pattern.draw(number, Duration::from_secs(number));
        }
    }

    #[test]
    fn the_ball_stays_in_the_picture() {
        for number in 0..10_000 {
            assert!(bounce(number * 5, WIDTH - 48) <= WIDTH - 48);
            assert!(bounce(number * 3, HEIGHT - 48) <= HEIGHT - 48);
        }
    }
}
