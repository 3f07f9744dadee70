"""Import: files of any format to one file of examples, with feedback settled and every left-out row explained."""
