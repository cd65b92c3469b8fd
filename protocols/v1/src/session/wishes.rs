//! What a miner asks of its difficulty.

/// What a miner has asked for, by whichever way: `mining.configure`, `mining.suggest_difficulty`, or its password.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wishes {
    /// A difficulty to begin with, or to go on with; positive.
    pub start: Option<f64>,
    /// No difficulty is to be lower; positive.
    pub minimum: Option<f64>,
}

impl Wishes {
    /// With `d=` or `diff=`, and `md=`, if they are among the settings in a password. They stand between commas, semicolons, spaces or
    /// ampersands; values that are no positive numbers are passed over.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        for setting in password.split([',', ';', ' ', '&']) {
            let Some((key, value)) = setting.split_once('=') else { continue };
            let (key, value) = (key.trim(), value.trim().parse().ok().and_then(positive));
            if key.eq_ignore_ascii_case("d") || key.eq_ignore_ascii_case("diff") {
                self.start = value.or(self.start);
            } else if key.eq_ignore_ascii_case("md") {
                self.minimum = value.or(self.minimum);
            }
        }
        self
    }

    /// With a difficulty that was suggested, if it is a positive number.
    #[must_use]
    pub fn with_suggestion(self, difficulty: f64) -> Self {
        Self { start: positive(difficulty).or(self.start), ..self }
    }

    /// With a least difficulty, if it is a positive number.
    #[must_use]
    pub fn with_minimum(self, difficulty: f64) -> Self {
        Self { minimum: positive(difficulty).or(self.minimum), ..self }
    }
}

fn positive(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite() && *value > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_found_in_passwords() {
        let read = |password: &str| {
            let wishes = Wishes::default().with_password(password);
            (wishes.start, wishes.minimum)
        };
        for nothing in ["", "x", "123", "d", "d=", "d=0", "d=-1", "d=inf", "d=NaN", "d=1e999", "dd=5", "hunter2=x"] {
            assert_eq!(read(nothing), (None, None), "{nothing}");
        }
        for (password, expected) in [
            ("d=1024", (Some(1024.0), None)),
            ("x,diff=0.001", (Some(0.001), None)),
            ("D=5;MD=2", (Some(5.0), Some(2.0))),
            ("md=512 d=1024", (Some(1024.0), Some(512.0))),
        ] {
            assert_eq!(read(password), expected, "{password}");
        }
    }

    #[test]
    fn a_later_wish_takes_the_place_of_an_earlier_one_if_it_is_one() {
        let wishes = Wishes::default().with_suggestion(8.0).with_minimum(2.0);
        assert_eq!(wishes, Wishes { start: Some(8.0), minimum: Some(2.0) });
        assert_eq!(wishes.with_suggestion(f64::NAN).with_minimum(0.0).with_password("d=-3"), wishes);
        assert_eq!(wishes.with_suggestion(16.0).start, Some(16.0));
    }
}
