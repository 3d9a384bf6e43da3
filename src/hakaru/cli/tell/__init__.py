"""What commands tell: the text and the JSON of results, one file per verb."""
