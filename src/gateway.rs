//! The composition root: settings in, one cheap-to-clone [`Gateway`] out. Everything that `api/` can ask for is here.
