//! How a name falls into words. The one place that decides it: for what is indexed and for what is
//! asked.

/// Calls `each` with every word of `text`: the runs of alphanumerics, lower-cased with the full
/// Unicode mapping of each character alone (no context: a capital sigma is σ wherever it stands).
/// `scratch` is only reused memory.
pub(crate) fn for_each(text: &str, scratch: &mut String, mut each: impl FnMut(&str)) {
    scratch.clear();
    if text.is_ascii() {
        return for_each_ascii(text, scratch, each);
    }
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            scratch.push(c.to_ascii_lowercase());
        } else if !c.is_ascii() && c.is_alphanumeric() {
            lower_into(c, scratch);
        } else if !scratch.is_empty() {
            each(scratch);
            scratch.clear();
        }
    }
    if !scratch.is_empty() {
        each(scratch);
    }
}

/// What stands in a word, by byte: `WORD`, and `UPPER` where it has a lower case.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 128_u8 {
        if byte.is_ascii_alphanumeric() {
            classes[byte as usize] = if byte.is_ascii_uppercase() { WORD | UPPER } else { WORD };
        }
        byte += 1;
    }
    classes
};
const WORD: u8 = 1;
const UPPER: u8 = 2;

/// The same for text of ASCII: a word that is in lower case already is not copied.
fn for_each_ascii(text: &str, scratch: &mut String, mut each: impl FnMut(&str)) {
    let bytes = text.as_bytes();
    let mut start = 0;
    while start < bytes.len() {
        let mut end = start;
        let mut classes = 0;
        while let Some(class) = bytes.get(end).map(|byte| CLASSES[usize::from(*byte)]).filter(|class| *class != 0) {
            classes |= class;
            end += 1;
        }
        if end > start {
            let word = &text[start..end];
            if classes & UPPER != 0 {
                scratch.clear();
                scratch.push_str(word);
                scratch.make_ascii_lowercase();
                each(scratch);
            } else {
                each(word);
            }
        }
        start = end + 1;
    }
}

/// The words of `text`, each once, sorted.
pub(crate) fn of(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for_each(text, &mut String::new(), |word| words.push(word.to_owned()));
    words.sort_unstable();
    words.dedup();
    words
}

/// Appends the lower case of a character; the final sigma falls together with the other one.
pub(crate) fn lower_into(c: char, out: &mut String) {
    if c.is_ascii() {
        out.push(c.to_ascii_lowercase());
    } else if c == 'ς' {
        out.push('σ');
    } else {
        out.extend(c.to_lowercase());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_alphanumerics_in_lower_case() {
        assert_eq!(of("Blue Train (1957).flac"), ["1957", "blue", "flac", "train"]);
        assert_eq!(of("ÉTÉ_Ωμέγα-ΟΔΟΣ"), ["ωμέγα", "οδοσ", "été"].map(String::from).to_vec().tap_sorted());
        assert_eq!(of("οδος"), of("ΟΔΟΣ"));
        assert!(of("--- …!").is_empty());
    }

    trait Sorted {
        fn tap_sorted(self) -> Self;
    }
    impl Sorted for Vec<String> {
        fn tap_sorted(mut self) -> Self {
            self.sort_unstable();
            self
        }
    }
}
