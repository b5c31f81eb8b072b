//! A moment, and Python's `strftime` of it.

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A moment in UTC, in seconds since the first second of 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock(pub i64);

/// A moment taken apart.
struct Parts {
    year: i64,
    month: usize,
    day: usize,
    weekday: usize,
    day_of_year: usize,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Clock {
    /// The moment as a format says: `%Y-%m-%d`, `%d %b %Y` and the other fields of the C locale. A `-` behind the `%`
    /// leaves leading zeros away.
    pub fn format(self, format: &str) -> Result<String, String> {
        let parts = self.parts();
        let mut text = String::new();
        let mut letters = format.chars();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                text.push(letter);
                continue;
            }
            let field = match letters.next() {
                Some('-') => letters.next().map(|field| (field, true)),
                other => other.map(|field| (field, false)),
            };
            let (field, bare) = field.ok_or_else(|| format!("strftime_now({format:?}): a field is missing"))?;
            let written = parts.field(field).ok_or_else(|| format!("strftime_now: %{field} is not supported"))?;
            match bare {
                true => {
                    text.push_str(Some(written.trim_start_matches('0')).filter(|rest| !rest.is_empty()).unwrap_or("0"))
                }
                false => text.push_str(&written),
            }
        }
        Ok(text)
    }

    /// The civil date of a day number: eras of 400 years that begin in March (Howard Hinnant, "chrono-compatible
    /// low-level date algorithms").
    fn parts(self) -> Parts {
        let (days, seconds) = (self.0.div_euclid(86_400), self.0.rem_euclid(86_400));
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * from_march + 2) / 153;
        let day = from_march - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let elapsed: i64 = before.get(month as usize - 1).copied().unwrap_or(0);
        let day_of_year = elapsed + day + i64::from(leap && month > 2);
        Parts {
            year,
            month: month as usize,
            day: day as usize,
            weekday: (days + 4).rem_euclid(7) as usize,
            day_of_year: day_of_year as usize,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }
}

impl Parts {
    fn field(&self, field: char) -> Option<String> {
        let month = MONTHS.get(self.month - 1).copied().unwrap_or_default();
        let weekday = DAYS.get(self.weekday).copied().unwrap_or_default();
        let short = |name: &str| name.chars().take(3).collect::<String>();
        let hour12 = (self.hour + 11) % 12 + 1;
        Some(match field {
            'Y' => self.year.to_string(),
            'y' => format!("{:02}", self.year.rem_euclid(100)),
            'm' => format!("{:02}", self.month),
            'd' => format!("{:02}", self.day),
            'e' => format!("{:2}", self.day),
            'j' => format!("{:03}", self.day_of_year),
            'B' => month.to_owned(),
            'b' | 'h' => short(month),
            'A' => weekday.to_owned(),
            'a' => short(weekday),
            'w' => self.weekday.to_string(),
            'H' => format!("{:02}", self.hour),
            'I' => format!("{hour12:02}"),
            'M' => format!("{:02}", self.minute),
            'S' => format!("{:02}", self.second),
            'f' => "000000".to_owned(),
            'p' => if self.hour < 12 { "AM" } else { "PM" }.to_owned(),
            'F' => format!("{}-{:02}-{:02}", self.year, self.month, self.day),
            'T' => format!("{:02}:{:02}:{:02}", self.hour, self.minute, self.second),
            'Z' | 'z' => String::new(),
            '%' => "%".to_owned(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn moments_as_python_writes_them() {
        // datetime(2024, 7, 5, 13, 4, 9, tzinfo=utc).timestamp() and its strftime, by CPython 3.11.
        let clock = Clock(1_720_184_649);
        let format = "%Y-%m-%d|%d %b %Y|%A, %B %-d|%a %j %y|%I:%M:%S %p|%F %T|100%%";
        let text = "2024-07-05|05 Jul 2024|Friday, July 5|Fri 187 24|01:04:09 PM|2024-07-05 13:04:09|100%";
        assert_eq!(clock.format(format).as_deref(), Ok(text));
        assert_eq!(Clock(951_782_400).format("%F %j %a").as_deref(), Ok("2000-02-29 060 Tue"));
        assert_eq!(Clock(-1).format("%F %T").as_deref(), Ok("1969-12-31 23:59:59"));
        assert!(clock.format("%Q").is_err() && clock.format("%").is_err());
    }
}
