"""How the tables came to be what they are: one script a revision, applied in order by Alembic."""
