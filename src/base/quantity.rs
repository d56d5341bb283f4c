//! Kubernetes quantities.

/// A text that is no quantity.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{text:?} is not a quantity: accepted is a number with an optional suffix (m, k, M, G, T, P, \
     E, Ki, Mi, Gi, Ti, Pi, Ei), such as \"100m\" or \"4Mi\""
)]
pub struct QuantityError {
    text: String,
}

/// Parses a Kubernetes quantity to its value, for example `4Mi` to 4194304 and `100m` to 0.1.
/// (Kubernetes, `resource.Quantity`: decimal and binary suffixes, or a decimal exponent.)
pub fn parse_quantity(text: &str) -> Result<f64, QuantityError> {
    let error = || QuantityError {
        text: text.to_owned(),
    };
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(digits);
    if !number.contains(|c: char| c.is_ascii_digit()) {
        return Err(error());
    }
    let number: f64 = number.parse().map_err(|_| error())?;
    let factor = suffix_factor(suffix).ok_or_else(error)?;
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    Ok(sign * number * factor)
}

/// Parses a quantity of bytes: a whole number that is not negative. A value above `u64::MAX` is an
/// error too.
pub fn parse_bytes(text: &str) -> Result<u64, QuantityError> {
    let value = parse_quantity(text)?;
    // Both bounds are exact as f64; between them the conversion only drops a fraction.
    if (0.0..18_446_744_073_709_551_616.0).contains(&value) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range was checked above, and bytes have no fraction"
        )]
        Ok(value.ceil() as u64)
    } else {
        Err(QuantityError {
            text: text.to_owned(),
        })
    }
}

fn suffix_factor(suffix: &str) -> Option<f64> {
    Some(match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024_f64.powi(2),
        "Gi" => 1024_f64.powi(3),
        "Ti" => 1024_f64.powi(4),
        "Pi" => 1024_f64.powi(5),
        "Ei" => 1024_f64.powi(6),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            if !(-30..=30).contains(&exponent) {
                return None;
            }
            10_f64.powi(exponent)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_bytes() {
        for (text, bytes) in [
            ("0", 0),
            ("4Mi", 4 << 20),
            ("1k", 1000),
            ("1e3", 1000),
            ("1.5Ki", 1536),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn refuses_what_kubernetes_refuses() {
        for bad in ["", "Mi", "4MiB", "4 Mi", "1.2.3", "abc", "-", "."] {
            assert!(parse_quantity(bad).is_err(), "{bad}");
        }
        assert!(parse_bytes("-1").is_err());
        assert!(parse_bytes("16Ei").is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = (parse_quantity(&text), parse_bytes(&text));
        }
    }
}
