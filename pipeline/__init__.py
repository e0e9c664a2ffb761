"""From video to gallery and from query to matches; the only package that joins the others."""
