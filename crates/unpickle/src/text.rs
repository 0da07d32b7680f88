//! The text literals of protocol 0.

/// Decodes `'a\x00\n'`, as Python 2's `repr` writes a `str`.
pub(crate) fn quoted(line: &[u8]) -> Result<Vec<u8>, &'static str> {
    let inside = match line {
        [b'\'', inside @ .., b'\''] | [b'"', inside @ .., b'"'] => inside,
        _ => return Err("a string without its quotes"),
    };
    let mut bytes = Vec::with_capacity(inside.len());
    let mut rest = inside.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'x') => {
                let digits = [rest.next(), rest.next()].map(|digit| digit.and_then(hex_digit));
                let [Some(high), Some(low)] = digits else { return Err("an invalid escape") };
                (high * 16 + low) as u8
            }
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(quote @ (b'\\' | b'\'' | b'"')) => quote,
            _ => return Err("an unknown escape"),
        });
    }
    Ok(bytes)
}

/// Decodes text in the codec `raw-unicode-escape`: Latin-1, with `\u` and four or `\U` and eight
/// hexadecimal digits for all other characters.
pub(crate) fn raw_unicode(line: &[u8]) -> Result<String, &'static str> {
    let mut text = String::with_capacity(line.len());
    let mut at = 0;
    let mut high: Option<u32> = None;
    while let Some(&byte) = line.get(at) {
        let digits = match (byte, line.get(at + 1)) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => 0,
        };
        let code = if digits == 0 {
            at += 1;
            u32::from(byte)
        } else {
            let escape = line.get(at + 2..at + 2 + digits).ok_or("an invalid escape")?;
            at += 2 + digits;
            let add = |code: u32, &digit: &u8| Some(code * 16 + hex_digit(digit)?);
            escape.iter().try_fold(0, add).ok_or("an invalid escape")?
        };
        // Python 2 wrote characters above U+FFFF as two surrogates.
        match (high.take(), code) {
            (None, 0xD800..0xDC00) => high = Some(code),
            (Some(first), 0xDC00..0xE000) => {
                let code = 0x10000 + ((first - 0xD800) << 10) + (code - 0xDC00);
                text.push(char::from_u32(code).ok_or("an invalid character")?);
            }
            (None, code) => text.push(char::from_u32(code).ok_or("an invalid character")?),
            (Some(_), _) => return Err("an unpaired surrogate"),
        }
    }
    if high.is_some() {
        return Err("an unpaired surrogate");
    }
    Ok(text)
}

fn hex_digit(byte: u8) -> Option<u32> {
    char::from(byte).to_digit(16)
}

/// Parses a decimal integer, optionally with the `L` of Python 2's long integers.
pub(crate) fn integer(line: &[u8]) -> Result<i64, &'static str> {
    let digits = line.strip_suffix(b"L").unwrap_or(line);
    let text = std::str::from_utf8(digits).map_err(|_| "not a number")?;
    text.trim().parse().map_err(|_| "not a 64-bit integer")
}

/// Parses a number as Python's `repr` writes it.
pub(crate) fn float(line: &[u8]) -> Result<f64, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "not a number")?;
    text.trim().parse().map_err(|_| "not a number")
}

/// Decodes an integer in little-endian two's complement of any length.
pub(crate) fn long(bytes: &[u8]) -> Result<i64, &'static str> {
    let Some(&last) = bytes.last() else { return Ok(0) };
    let sign = if last & 0x80 == 0 { 0 } else { 0xFF };
    let mut word = [sign; 8];
    let (low, rest) = bytes.split_at(bytes.len().min(8));
    word[..low.len()].copy_from_slice(low);
    let value = i64::from_le_bytes(word);
    if rest.iter().any(|&byte| byte != sign) || (value < 0) != (sign == 0xFF) {
        return Err("an integer of more than 64 bits");
    }
    Ok(value)
}
