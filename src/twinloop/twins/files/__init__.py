"""Single twins with their history in and out of files: JSON, XML, CSV."""
