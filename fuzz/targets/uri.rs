//! URIs as people may paste them: what is accepted is written again as one word of a shell, and
//! reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sprat::wire::Uri;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for text in [text.to_string(), format!("sprat:{},{text}", "0f".repeat(32)), format!("{text},name={text}")] {
        let Ok(uri) = text.parse::<Uri>() else { continue };
        let written = uri.to_string();
        assert!(written.chars().all(|c| c.is_ascii_alphanumeric() || "-._~:@,=%".contains(c)), "{written:?}");
        if written.len() <= sprat::config::URI_BYTES_MAX {
            assert_eq!(written.parse::<Uri>(), Ok(uri), "{written:?}");
        }
    }
});
