//! A score's value as a number, by inspect's `value_to_float`: C and yes are 1, P is ½, I, N and no are 0.

use serde_json::Value;

/// The number, and whether it was a grade or a flag; `None` where inspect counts the value as unscored.
pub(super) fn number(value: &Value) -> Result<Option<(f64, bool)>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(flag) => Ok(Some((f64::from(*flag), true))),
        Value::Number(number) => match number.as_f64().filter(|number| number.is_finite()) {
            Some(number) => Ok(Some((number, false))),
            None => Err(format!("is {value}, not a finite number")),
        },
        Value::String(text) => letter(text),
        other => Err(format!("is {other}; a score is a number, a grade (C, P, I, N), a flag, or a table of these")),
    }
}

fn letter(text: &str) -> Result<Option<(f64, bool)>, String> {
    match text {
        "C" => return Ok(Some((1.0, true))),
        "P" => return Ok(Some((0.5, true))),
        "I" | "N" => return Ok(Some((0.0, true))),
        "NaN" | "nan" => return Ok(None),
        _ => {}
    }
    match text.to_lowercase().as_str() {
        "yes" | "true" => Ok(Some((1.0, true))),
        "no" | "false" => Ok(Some((0.0, true))),
        other => match other.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some((number, false))),
            _ => Err(format!("is `{text}`, which is no grade (C, P, I, N), flag or number")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn grades_follow_inspect() {
        // inspect_ai 0.3.285, `scorer/_metric.py`, `value_to_float` with its defaults.
        let read = |value: Value| number(&value).map(|found| found.map(|(number, _)| number));
        assert_eq!(
            [read(json!("C")), read(json!("P")), read(json!("N"))],
            [Ok(Some(1.0)), Ok(Some(0.5)), Ok(Some(0.0))]
        );
        assert_eq!(
            [read(json!("Yes")), read(json!(0.25)), read(json!("3"))],
            [Ok(Some(1.0)), Ok(Some(0.25)), Ok(Some(3.0))]
        );
        assert_eq!(read(json!(null)), Ok(None));
        assert!(read(json!("perhaps")).is_err() && read(json!([1, 2])).is_err());
    }
}
