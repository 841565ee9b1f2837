//! `sprat demo`.
pub(crate) fn run(_: &super::args::Demo) -> Result<u8, crate::error::Failure> {
    Ok(0)
}
